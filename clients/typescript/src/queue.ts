/**
 * What came and was not asked for yet, with one waiter at most. Whoever fills it looks at `weight` and stops reading
 * from its socket while there is enough.
 */
export class Queue<T> {
  #items: { item: T; weight: number }[] = [];
  #waiter: { resolve: (item: T | undefined) => void; reject: (error: Error) => void } | undefined;
  #end: { error: Error | undefined } | undefined;
  #weight = 0;

  /** The sum of the weights of what is in it. */
  get weight(): number {
    return this.#weight;
  }

  /** Adds an item, or hands it to who waits. */
  push(item: T, weight: number): void {
    if (this.#end === undefined && this.#waiter !== undefined) {
      const { resolve } = this.#waiter;
      this.#waiter = undefined;
      resolve(item);
    } else if (this.#end === undefined) {
      this.#items.push({ item, weight });
      this.#weight += weight;
    }
  }

  /** Nothing follows; once what is in it was taken, `next` brings undefined, or fails with the error, once. */
  end(error?: Error): void {
    if (this.#end !== undefined) {
      return;
    }
    this.#end = { error };
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter !== undefined) {
      this.next().then(waiter.resolve, waiter.reject);
    }
  }

  /** The next item; undefined when none follows. One call at a time. */
  async next(): Promise<T | undefined> {
    const first = this.#items.shift();
    if (first !== undefined) {
      this.#weight -= first.weight;
      return first.item;
    }
    if (this.#end !== undefined) {
      const { error } = this.#end;
      this.#end = { error: undefined };
      if (error !== undefined) {
        throw error;
      }
      return undefined;
    }
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }
}
