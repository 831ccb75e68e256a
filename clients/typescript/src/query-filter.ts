import { Transform } from "node:stream";
import type { TransformCallback } from "node:stream";

import { isClipboard, latin1, mayBeRemoved, replacement } from "./queries.js";
import { Scanner } from "./scanner.js";
import type { Kind, Token } from "./scanner.js";

/** Which queries a filter removes. */
export interface QueryFilterOptions {
  /**
   * For an observer's terminal: removes access to the clipboard (OSC 52) too. Absent: for the owner's terminal, below the
   * offset from which on it answers.
   */
  readonly observer?: boolean;
}

/**
 * For output on its way to a terminal that must not answer it: removes queries as a whole, passes on everything else
 * unchanged and in order, and holds back no more than a sequence that may still become a query. What is held back is
 * passed on when the filter is ended: the offset has come from which on the terminal answers.
 */
export function queryFilter(options: QueryFilterOptions = {}): Transform {
  const filter = new QueryFilter(options.observer === true);
  return new Transform({
    transform(bytes: Uint8Array, _encoding: BufferEncoding, done: TransformCallback): void {
      const kept = filter.filter(bytes);
      done(null, kept.length > 0 ? kept : undefined);
    },
    flush(done: TransformCallback): void {
      const kept = filter.finish();
      done(null, kept.length > 0 ? kept : undefined);
    },
  });
}

/** What `queryFilter` does, without a stream around it. */
export class QueryFilter {
  readonly #scanner = new Scanner();
  readonly #clipboard: boolean;
  #out: Uint8Array[] = [];
  /** How much of what the scanner holds was passed on already. */
  #passed = 0;
  /** What becomes of the long sequence that is under way. */
  #isDropping = false;
  /** What was passed on last is a sequence, or a part of a character, that only what comes next ends. */
  #isOpen = false;
  /** The last two bytes of a long sequence. */
  #tail = "";

  /** `clipboard`: removes access to the clipboard too. */
  constructor(clipboard: boolean) {
    this.#clipboard = clipboard;
  }

  /** What of these bytes, which follow those of the last call, and of what was held back, may go to the terminal now. */
  filter(bytes: Uint8Array): Uint8Array {
    this.#scanner.scan(bytes, (token) => this.#token(token));
    this.#passClear();
    return this.#take();
  }

  /** What is held back: the offset has come from which on the terminal answers. The filter is of no use afterwards. */
  finish(): Uint8Array {
    if (!this.#isDropping) {
      if (!this.#scanner.isLong) {
        this.#out.push(this.#scanner.held.subarray(this.#passed));
      }
      if (this.#scanner.endsInEscape) {
        this.#emit("\x1b");
      }
    }
    return this.#take();
  }

  #take(): Uint8Array {
    const out = this.#out;
    this.#out = [];
    return Buffer.concat(out);
  }

  #token(token: Token): void {
    switch (token.kind) {
      case "text":
      case "broken":
        this.#isOpen = token.kind === "broken";
        this.#out.push(token.bytes);
        break;
      case "cancelled":
        this.#isOpen = !/[\x18\x1a]$/.test(latin1(token.bytes));
        this.#pass(token.bytes);
        break;
      case "sequence":
        this.#sequence(token.of, token.bytes);
        break;
      case "long":
        this.#isDropping = this.#passed === 0 && isClipboard(token.of, latin1(token.bytes), this.#clipboard);
        if (this.#isDropping) {
          this.#close();
        } else {
          this.#long(token.bytes);
        }
        break;
      case "longPart":
        if (!this.#isDropping) {
          this.#long(token.bytes);
        }
        break;
      case "longEnd":
        this.#isOpen = !this.#isDropping && !isEnded(this.#tail);
        this.#isDropping = false;
    }
  }

  #sequence(kind: Kind, bytes: Uint8Array): void {
    const sequence = latin1(bytes);
    const kept = this.#passed === 0 ? replacement(kind, sequence, this.#clipboard) : undefined;
    if (kept === undefined) {
      this.#isOpen = kind !== "escape" && kind !== "csi" && !isEnded(sequence);
      this.#pass(bytes);
    } else {
      this.#close();
      this.#emit(kept);
    }
  }

  #emit(text: string): void {
    this.#out.push(Buffer.from(text, "latin1"));
  }

  /** Passes on what was not passed on before. */
  #pass(bytes: Uint8Array): void {
    this.#out.push(bytes.subarray(this.#passed));
    this.#passed = 0;
  }

  #long(bytes: Uint8Array): void {
    this.#tail = (this.#tail + latin1(bytes.subarray(-2))).slice(-2);
    this.#pass(bytes);
  }

  /** Ends what was to be ended by a sequence that is removed. */
  #close(): void {
    if (this.#isOpen) {
      this.#emit("\x1b\\");
    }
    this.#isOpen = false;
  }

  /** Passes on what is held, if it can no more become something to remove. */
  #passClear(): void {
    const kind = this.#scanner.heldKind;
    if (kind !== undefined && !this.#scanner.isLong) {
      const held = this.#scanner.held;
      if (!mayBeRemoved(kind, latin1(held), this.#clipboard)) {
        this.#out.push(held.subarray(this.#passed));
        this.#passed = held.length;
      }
    }
  }
}

/** Whether the end of a text is written, or the control that cancels it. */
function isEnded(text: string): boolean {
  return /(?:\x1b\\|\xc2\x9c|[\x07\x18\x1a])$/.test(text);
}
