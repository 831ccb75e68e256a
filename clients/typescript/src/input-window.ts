import type { Former } from "./wire.js";

/** Input of one owner epoch, from the first byte that is not known to be applied: what makes a resend exact. */
export class InputWindow {
  readonly ownerEpoch: number;
  readonly #incarnation: number;
  readonly #bytesMax: number;
  /** Every byte below it reached the program's terminal. */
  #applied: number;
  /** Bytes from `applied` on. */
  #bytes: Buffer = Buffer.alloc(0);
  /** Bytes below it were sent on this connection. */
  #sent: number;

  /** The window of an epoch of which the input below `applied` is done. */
  constructor(ownerEpoch: number, incarnation: number, applied: number, bytesMax: number) {
    this.ownerEpoch = ownerEpoch;
    this.#incarnation = incarnation;
    this.#applied = applied;
    this.#sent = applied;
    this.#bytesMax = bytesMax;
  }

  /** Every byte below it reached the program's terminal. */
  get applied(): number {
    return this.#applied;
  }

  /** End of what was accepted. */
  get end(): number {
    return this.#applied + this.#bytes.length;
  }

  /** How many bytes may be accepted. */
  get room(): number {
    return Math.max(0, this.#bytesMax - this.#bytes.length);
  }

  /** Accepts as many bytes as there is room for; how many. */
  accept(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, this.room);
    this.#bytes = Buffer.concat([this.#bytes, taken]);
    return taken.length;
  }

  /** Everything below `offset` reached the program's terminal. Old news changes nothing. */
  appliedTo(offset: number): void {
    const to = this.#clamp(offset);
    this.#bytes = this.#bytes.subarray(to - this.#applied);
    this.#applied = to;
    this.#sent = Math.max(this.#sent, to);
  }

  /** What lies from `offset` on is to be sent (again). */
  rewind(offset: number): void {
    this.#sent = this.#clamp(offset);
  }

  /** What lies from `offset` on was refused for good: it is not part of the input. */
  cut(offset: number): void {
    const to = this.#clamp(offset);
    this.#bytes = this.#bytes.subarray(0, to - this.#applied);
    this.#sent = Math.min(this.#sent, to);
  }

  /** What is to be sent now, and where it begins; undefined: nothing. It counts as sent. */
  takeUnsent(): { offset: number; bytes: Uint8Array } | undefined {
    const offset = this.#sent;
    const bytes = this.#bytes.subarray(offset - this.#applied);
    this.#sent = this.end;
    return bytes.length > 0 ? { offset, bytes } : undefined;
  }

  /** How much of this epoch was applied, as an `attached` of a later epoch tells it; undefined: it cannot be told. */
  finalCount(incarnation: number, former: Former | undefined): number | undefined {
    if (former === undefined || incarnation !== this.#incarnation || former.owner_epoch > this.ownerEpoch) {
      return undefined;
    }
    // If the last epoch that wrote is an older one, this one wrote nothing.
    return former.owner_epoch === this.ownerEpoch ? former.input_applied : this.#applied;
  }

  #clamp(offset: number): number {
    return Math.min(Math.max(offset, this.#applied), this.end);
  }
}
