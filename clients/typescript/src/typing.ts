import type { AbideError } from "./error.js";
import { inputFrame } from "./frame.js";
import { InputWindow } from "./input-window.js";
import type { Attached, InputApplied } from "./wire.js";

/** How long the final count of an epoch that has ended may take: the daemon waits 2 s for it. */
const FINAL_MS = 3_000;
/** Pause before input is sent again that was refused for a reason that passes by itself. */
const RETRY_MS = 100;

/** What becomes of input. */
export type TypingTold =
  /** Input below this offset reached the program's terminal. */
  | { kind: "applied"; ownerEpoch: number; offset: number }
  /** Input from this offset on was refused for good. */
  | { kind: "inputRefused"; ownerEpoch: number; offset: number; error: AbideError }
  /** The epoch has ended; what of it was applied, or undefined: nobody can tell. */
  | { kind: "settled"; ownerEpoch: number; applied: number | undefined }
  /** There is room for more input. */
  | { kind: "room" };

/** The input of a stream: the window of the epoch in which it may type, and those of which the final count is missing. */
export class Typing {
  readonly #tell: (told: TypingTold) => void;
  #window: InputWindow | undefined;
  /** Epochs that have ended, and until when their count is waited for. */
  readonly #ended = new Map<InputWindow, number>();
  #againAt: number | undefined;
  /** The daemon was asked for its count. */
  #isAsked = false;

  /** Nothing may be typed yet. */
  constructor(tell: (told: TypingTold) => void) {
    this.#tell = tell;
  }

  /** Whether there is an epoch in which this stream may type. */
  get isOwner(): boolean {
    return this.#window !== undefined;
  }

  /** The epoch in which this stream may type. */
  get ownerEpoch(): number | undefined {
    return this.#window?.ownerEpoch;
  }

  /** What was applied of that epoch. */
  get applied(): number {
    return this.#window?.applied ?? 0;
  }

  /** When `timeout` is due while the stream stands. */
  pollTimeout(): number | undefined {
    const times = [...this.#ended.values(), ...(this.#againAt === undefined ? [] : [this.#againAt])];
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  /** Accepts as much as there is room for: how many bytes, and where they end. */
  accept(bytes: Uint8Array): { taken: number; end: number } {
    const taken = this.#window?.accept(bytes) ?? 0;
    return { taken, end: this.#window?.end ?? 0 };
  }

  /** The frame that is to be sent now, if there is input that was not sent. */
  take(): Buffer | undefined {
    this.#againAt = undefined;
    const unsent = this.#window?.takeUnsent();
    return this.#window === undefined || unsent === undefined
      ? undefined
      : inputFrame(this.#window.ownerEpoch, unsent.offset, unsent.bytes);
  }

  /**
   * The program has printed: whether the daemon is to be asked how much of its input was applied. It tells by itself only
   * each 100 ms, and nothing once the program has ended.
   */
  asks(): boolean {
    const asks = !this.#isAsked && this.#window !== undefined && this.#window.applied < this.#window.end;
    this.#isAsked ||= asks;
    return asks;
  }

  /** What the daemon knows of our input: go on in the same epoch, or settle the former one. */
  attached(attached: Attached): void {
    const { incarnation, former, owner_epoch: epoch, input_applied: applied, input_window: bytesMax } = attached;
    const isOwner = attached.mode === "owner";
    this.#isAsked = false;
    for (const window of [...this.#ended.keys()]) {
      this.#settle(window, window.finalCount(incarnation, former));
    }
    if (isOwner && this.#window?.ownerEpoch === epoch) {
      this.#appliedTo(this.#window, applied);
      this.#window.rewind(applied);
      return;
    }
    if (this.#window !== undefined) {
      this.#settle(this.#window, this.#window.finalCount(incarnation, former));
    }
    this.#window = isOwner ? new InputWindow(epoch, incarnation, applied, bytesMax) : undefined;
  }

  /** A new epoch has begun. Its mark is in the log before the final count of the one before is known. */
  begin(now: number, epoch: number, incarnation: number, isOwner: boolean, bytesMax: number): void {
    if (this.#window !== undefined) {
      this.#ended.set(this.#window, now + FINAL_MS);
    }
    this.#againAt = undefined;
    this.#isAsked = false;
    this.#window = isOwner ? new InputWindow(epoch, incarnation, 0, bytesMax) : undefined;
    this.#tell({ kind: "room" });
  }

  /** A count of the daemon. */
  told(told: InputApplied): void {
    const window = [this.#window, ...this.#ended.keys()].find((window) => window?.ownerEpoch === told.owner_epoch);
    if (window !== undefined) {
      this.#isAsked &&= window !== this.#window;
      this.#appliedTo(window, told.input_offset);
      if (told.final === true) {
        this.#settle(window, told.input_offset);
      } else {
        this.#tell({ kind: "room" });
      }
    }
  }

  /** What begins at `offset` was not taken; whether it is to be sent again at once. */
  refused(now: number, offset: number, error: AbideError): boolean {
    const window = this.#window;
    if (window === undefined || error.code === "ROLE_FORBIDDEN" || error.code === "OWNER_CHANGED") {
      // Of a change of owner the final count tells.
      return false;
    }
    if (error.code === "INPUT_GAP" || error.retry === "retry") {
      window.rewind(offset);
      this.#againAt = error.code === "INPUT_GAP" ? undefined : now + RETRY_MS;
      return error.code === "INPUT_GAP";
    }
    window.cut(offset);
    this.#tell({ kind: "inputRefused", ownerEpoch: window.ownerEpoch, offset, error });
    return false;
  }

  /** Gives counts up that did not come; whether input is to be sent again. */
  timeout(now: number): boolean {
    for (const [window, until] of [...this.#ended]) {
      if (until <= now) {
        this.#settle(window, undefined);
      }
    }
    return this.#againAt !== undefined && this.#againAt <= now;
  }

  #appliedTo(window: InputWindow, offset: number): void {
    window.appliedTo(offset);
    this.#tell({ kind: "applied", ownerEpoch: window.ownerEpoch, offset });
  }

  #settle(window: InputWindow, applied: number | undefined): void {
    this.#ended.delete(window);
    if (window === this.#window) {
      this.#window = undefined;
    }
    this.#tell({ kind: "settled", ownerEpoch: window.ownerEpoch, applied });
  }
}
