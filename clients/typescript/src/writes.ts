import { AbideError, NotApplied } from "./error.js";

/** Most input that waits for room in the window; more is refused with `INPUT_QUEUE_FULL`. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;

interface Write {
  readonly bytes: Uint8Array;
  /** How much of it the window has taken. */
  taken: number;
  /** Where what was taken ends in the epoch's input. */
  end: number;
  readonly settle: (error?: AbideError) => void;
}

/** Takes input as far as there is room: how many bytes, and where they end. */
export type Accept = (bytes: Uint8Array) => { taken: number; end: number };

/** The writes of a stream that have not come to an end, in order. All of them belong to one epoch of ownership. */
export class Writes {
  #writes: Write[] = [];
  #waitingBytes = 0;

  /** One more; `settle` is called once, without an error when all of it was applied. */
  add(bytes: Uint8Array, accept: Accept, settle: (error?: AbideError) => void): void {
    if (this.#waitingBytes + bytes.length > WAITING_BYTES_MAX) {
      settle(new AbideError("INPUT_QUEUE_FULL", `more than ${WAITING_BYTES_MAX} bytes wait to be sent`));
      return;
    }
    this.#writes.push({ bytes, taken: 0, end: 0, settle });
    this.#waitingBytes += bytes.length;
    this.feed(accept);
  }

  /** There is room, perhaps. */
  feed(accept: Accept): void {
    for (const write of this.#writes) {
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
  applied(offset: number): void {
    this.#settle((write) => (isWhole(write) && write.end <= offset ? "done" : undefined));
  }

  /** Input from `offset` on was refused for good. */
  refused(offset: number, error: AbideError): void {
    this.#settle((write) => {
      if (isWhole(write) && write.end <= offset) {
        return undefined;
      }
      const from = Math.max(0, write.taken - Math.max(0, write.end - offset));
      return new AbideError(error.code, error.message, { ...error.details, from }, error.retry);
    });
  }

  /** The epoch has ended; of its input this much was applied, or nobody can tell. */
  settled(applied: number | undefined): void {
    this.#settle((write) => {
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

  #settle(outcome: (write: Write) => AbideError | "done" | undefined): void {
    const left: Write[] = [];
    for (const write of this.#writes) {
      const result = outcome(write);
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
