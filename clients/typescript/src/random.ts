/** Numbers that need not be secret, for jitter: mulberry32, so the same seed brings the same numbers. */
export class Random {
  #state: number;

  /** Of the seed its low 32 bits count. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  /** `value`, up to a fifth more or less. */
  around(value: number): number {
    const spread = Math.floor(value / 5);
    return value - spread + this.below(2 * spread + 1);
  }
}
