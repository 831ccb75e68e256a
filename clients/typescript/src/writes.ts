import { AbideError, NotApplied } from "./error.js";

/** Most input that waits for room in the window; more is refused with `INPUT_QUEUE_FULL`. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;

interface Write {
  readonly ownerEpoch: number;
  readonly bytes: Uint8Array;
  /** How much of it the window has taken. */
  taken: number;
  /** Where what was taken ends in the epoch's input. */
  end: number;
  readonly settle: (error?: AbideError) => void;
}

/** Takes input as far as there is room: how many bytes, and where they end. */
export type Accept = (bytes: Uint8Array) => { taken: number; end: number };

/** The writes of a stream that have not come to an end, in order, each in its epoch of ownership. */
export class Writes {
  #writes: Write[] = [];
  #waitingBytes = 0;

  /** Whether any are left. */
  get isEmpty(): boolean {
    return this.#writes.length === 0;
  }

  /** One more; `settle` is called once, without an error when all of it was applied. */
  add(ownerEpoch: number, bytes: Uint8Array, accept: Accept, settle: (error?: AbideError) => void): void {
    if (this.#waitingBytes + bytes.length > WAITING_BYTES_MAX) {
      settle(new AbideError("INPUT_QUEUE_FULL", `more than ${WAITING_BYTES_MAX} bytes wait to be sent`));
      return;
    }
    this.#writes.push({ ownerEpoch, bytes, taken: 0, end: 0, settle });
    this.#waitingBytes += bytes.length;
    this.feed(ownerEpoch, accept);
  }

  /** There is room in the window of this epoch, perhaps. */
  feed(ownerEpoch: number, accept: Accept): void {
    for (const write of this.#writes.filter((write) => write.ownerEpoch === ownerEpoch)) {
      const rest = write.bytes.subarray(write.taken);
      if (rest.length > 0) {
        const { taken, end } = accept(rest);
        write.taken += taken;
        write.end = end;
        this.#waitingBytes -= taken;
        if (taken < rest.length) {
          return;
        }
      }
    }
  }

  /** Input below `offset` was applied. */
  applied(ownerEpoch: number, offset: number): void {
    this.#settle(ownerEpoch, (write) => (isWhole(write) && write.end <= offset ? "done" : undefined));
  }

  /** Input from `offset` on was refused for good. */
  refused(ownerEpoch: number, offset: number, error: AbideError): void {
    this.#settle(ownerEpoch, (write) => {
      if (isWhole(write) && write.end <= offset) {
        return undefined;
      }
      const from = Math.max(0, write.taken - Math.max(0, write.end - offset));
      return new AbideError(error.code, error.message, { ...error.details, from }, error.retry);
    });
  }

  /** The epoch has ended; of its input this much was applied, or nobody can tell. */
  settled(ownerEpoch: number, applied: number | undefined): void {
    this.#settle(ownerEpoch, (write) => {
      if (write.taken === 0) {
        return new NotApplied(0);
      }
      if (applied === undefined) {
        return new AbideError("OUTCOME_UNKNOWN", "nobody can tell how much of this write was applied");
      }
      const over = Math.max(0, write.end - applied);
      return isWhole(write) && over === 0 ? "done" : new NotApplied(Math.max(0, write.taken - over));
    });
  }

  /** The stream is over: nothing more is told of any epoch. */
  end(): void {
    for (const ownerEpoch of new Set(this.#writes.map((write) => write.ownerEpoch))) {
      this.settled(ownerEpoch, undefined);
    }
  }

  #settle(ownerEpoch: number, outcome: (write: Write) => AbideError | "done" | undefined): void {
    const left: Write[] = [];
    for (const write of this.#writes) {
      const result = write.ownerEpoch === ownerEpoch ? outcome(write) : undefined;
      if (result === undefined) {
        left.push(write);
      } else {
        this.#waitingBytes -= write.bytes.length - write.taken;
        write.settle(result === "done" ? undefined : result);
      }
    }
    this.#writes = left;
  }
}

function isWhole(write: Write): boolean {
  return write.taken === write.bytes.length;
}
