// Cuts a program's output into text and control sequences, wherever the reads happen to end.

/** Longest control sequence that is looked into, introducer and terminator included. */
const SEQUENCE_BYTES_MAX = 4_096;

const ESC = 0x1b;
const CAN = 0x18;
const SUB = 0x1a;
const BEL = 0x07;
const BACKSLASH = 0x5c;
/** First byte of the two that UTF-8 gives to U+0080 … U+00BF, thus to the eight-bit control characters. */
const C1_LEAD = 0xc2;

/** What a sequence is: `ESC x`, CSI, OSC, DCS, APC, or text without any meaning (`ESC X`, `ESC ^`). */
export type Kind = "escape" | "csi" | "osc" | "dcs" | "apc" | "ignored";

/** One piece of output, in the order written. */
export type Token =
  /** Whole characters and C0 controls. */
  | { kind: "text"; bytes: Uint8Array }
  /** Bytes that are no character. */
  | { kind: "broken"; bytes: Uint8Array }
  /** A complete sequence as it was written. */
  | { kind: "sequence"; of: Kind; bytes: Uint8Array }
  /** A sequence that was broken off; it has no effect. */
  | { kind: "cancelled"; bytes: Uint8Array }
  /** The begin of a sequence that is too long to be looked into; the rest follows as `longPart`. */
  | { kind: "long"; of: Kind; bytes: Uint8Array }
  | { kind: "longPart"; bytes: Uint8Array }
  | { kind: "longEnd" };

type State =
  | "ground"
  | "escape"
  | "intermediate"
  | "csi"
  /** Text of an OSC, DCS, APC or ignored sequence. */
  | "text"
  /** ESC within text: ends it, with `\` as part of it, with anything else as the begin of the next sequence. */
  | "textEscape"
  /** 0xC2 within text: U+009C ends it. */
  | "textLead";

/** What a byte does to the sequence under way. */
type Step = "inside" | "end" | "cancel" | "again" | "endBefore";

/** What `ESC` and these bytes begin. */
const INTRODUCERS = new Map<number, Kind>([
  [0x5b, "csi"],
  [0x5d, "osc"],
  [0x50, "dcs"],
  [0x5f, "apc"],
  [0x58, "ignored"],
  [0x5e, "ignored"],
]);

/** Bytes that may end a text. */
const ENDS = new Set([ESC, CAN, SUB, BEL, C1_LEAD]);

/** The second byte of a character is bound by some of the first: no overlong form, no surrogate, none over U+10FFFF. */
const LOWEST = new Map([[0xe0, 0xa0], [0xf0, 0x90]]);
const HIGHEST = new Map([[0xed, 0x9f], [0xf4, 0x8f]]);

/** Streaming cutter; holds at most `SEQUENCE_BYTES_MAX` bytes of a sequence, or of a character. */
export class Scanner {
  #state: State = "ground";
  #kind: Kind = "escape";
  #held: number[] = [];
  #isLong = false;

  /** What has begun and not ended, without an ESC at its end if `endsInEscape`. */
  get held(): Uint8Array {
    return Uint8Array.from(this.#held);
  }

  /** Whether the sequence under way is longer than what is held of it. */
  get isLong(): boolean {
    return this.#isLong;
  }

  /** Whether an ESC within text came last: the first half of its end, or the begin of another sequence. */
  get endsInEscape(): boolean {
    return this.#state === "textEscape";
  }

  /** What kind of sequence is held; undefined for an incomplete character. */
  get heldKind(): Kind | undefined {
    return this.#state === "ground" ? undefined : this.#kind;
  }

  /** Cuts bytes, which follow those of the last call. */
  scan(bytes: Uint8Array, sink: (token: Token) => void): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === "ground" && this.#held.length === 0) {
        at = this.#text(bytes, at, sink);
      } else if (this.#state === "ground") {
        at += this.#character(bytes[at] ?? 0, sink);
      } else {
        // Text without a byte that could end it is held in one go: pictures are long.
        const plain = this.#state === "text" ? plainBytes(bytes, at) : 0;
        if (plain > 0) {
          this.#hold(bytes.subarray(at, at + plain), sink);
        }
        at += plain;
        const byte = bytes[at];
        at += byte === undefined ? 0 : this.#sequence(byte, sink);
      }
    }
  }

  /** Takes text up to the next introducer; where it stopped. */
  #text(bytes: Uint8Array, from: number, sink: (token: Token) => void): number {
    for (let at = from; at < bytes.length; at += 1) {
      const byte = bytes[at];
      const second = bytes[at + 1];
      const isC1 = byte === C1_LEAD && second !== undefined && second >= 0x80 && second <= 0x9f;
      if (byte === ESC || isC1) {
        const text = bytes.subarray(from, at);
        const whole = text.length - incomplete(text);
        emit("text", text.subarray(0, whole), sink);
        emit("broken", text.subarray(whole), sink);
        if (byte === ESC) {
          this.#begin();
          return at + 1;
        }
        this.#held = [C1_LEAD];
        return at + 1;
      }
    }
    const text = bytes.subarray(from);
    const whole = text.length - incomplete(text);
    emit("text", text.subarray(0, whole), sink);
    this.#held = [...text.subarray(whole)];
    return bytes.length;
  }

  #begin(): void {
    this.#state = "escape";
    this.#kind = "escape";
    this.#held = [ESC];
  }

  /** Completes a character that is held; how many bytes that took. */
  #character(byte: number, sink: (token: Token) => void): number {
    const held = [...this.#held, byte];
    if (held.length === 2 && held[0] === C1_LEAD && byte >= 0x80 && byte <= 0x9f) {
      this.#held = held;
      const kind = INTRODUCERS.get(byte - 0x40);
      if (kind === undefined) {
        this.#finish("escape", sink);
      } else {
        this.#kind = kind;
        this.#state = kind === "csi" ? "csi" : "text";
      }
      return 1;
    }
    switch (character(held)) {
      case "whole":
        this.#held = [];
        sink({ kind: "text", bytes: Uint8Array.from(held) });
        return 1;
      case "begun":
        this.#held = held;
        return 1;
      case "broken":
        sink({ kind: "broken", bytes: Uint8Array.from(this.#held) });
        this.#held = [];
        return 0;
    }
  }

  /** Takes one byte of a sequence; 0: it is to be looked at again. */
  #sequence(byte: number, sink: (token: Token) => void): number {
    switch (this.#step(byte)) {
      case "inside":
        // An ESC within text is held once it is known what it belongs to.
        if (this.#state !== "textEscape") {
          this.#hold(Uint8Array.of(byte), sink);
        }
        return 1;
      case "end":
        this.#hold(this.#state === "textEscape" ? Uint8Array.of(ESC, byte) : Uint8Array.of(byte), sink);
        this.#finish(this.#kind, sink);
        return 1;
      case "cancel":
        this.#cancel([byte], sink);
        this.#state = "ground";
        return 1;
      case "again":
        this.#cancel([], sink);
        this.#begin();
        return 1;
      case "endBefore":
        this.#finish(this.#kind, sink);
        this.#begin();
        return 0;
    }
  }

  #finish(kind: Kind, sink: (token: Token) => void): void {
    if (this.#isLong) {
      sink({ kind: "longEnd" });
    } else {
      sink({ kind: "sequence", of: kind, bytes: this.held });
    }
    this.#held = [];
    this.#isLong = false;
    this.#state = "ground";
  }

  #cancel(more: number[], sink: (token: Token) => void): void {
    if (this.#isLong) {
      sink({ kind: "longPart", bytes: Uint8Array.from(more) });
      sink({ kind: "longEnd" });
    } else {
      sink({ kind: "cancelled", bytes: Uint8Array.from([...this.#held, ...more]) });
    }
    this.#held = [];
    this.#isLong = false;
  }

  #hold(more: Uint8Array, sink: (token: Token) => void): void {
    const room = SEQUENCE_BYTES_MAX - this.#held.length;
    this.#held.push(...more.subarray(0, room));
    const over = more.subarray(room);
    if (over.length > 0) {
      if (!this.#isLong) {
        this.#isLong = true;
        sink({ kind: "long", of: this.#kind, bytes: this.held });
      }
      sink({ kind: "longPart", bytes: over });
    }
  }

  #step(byte: number): Step {
    if (this.#state === "textEscape") {
      return byte === BACKSLASH ? "end" : "endBefore";
    }
    if (this.#state === "textLead") {
      if (byte === 0x9c) {
        return "end";
      }
      this.#state = "text";
    }
    if (this.#state === "text") {
      return this.#stepText(byte);
    }
    if (byte === ESC) {
      return "again";
    }
    if (byte === CAN || byte === SUB) {
      return "cancel";
    }
    if (byte < 0x20) {
      return "inside";
    }
    if (this.#state === "escape") {
      return this.#stepEscape(byte);
    }
    const first = this.#state === "csi" ? 0x40 : 0x30;
    return byte >= first && byte <= 0x7e ? "end" : "inside";
  }

  #stepEscape(byte: number): Step {
    const kind = INTRODUCERS.get(byte);
    if (kind !== undefined) {
      this.#kind = kind;
      this.#state = kind === "csi" ? "csi" : "text";
      return "inside";
    }
    if (byte >= 0x20 && byte <= 0x2f) {
      this.#state = "intermediate";
    }
    return byte >= 0x30 && byte <= 0x7e ? "end" : "inside";
  }

  #stepText(byte: number): Step {
    switch (byte) {
      case BEL:
        return this.#kind === "osc" ? "end" : "inside";
      case CAN:
      case SUB:
        return "cancel";
      case ESC:
        this.#state = "textEscape";
        return "inside";
      case C1_LEAD:
        this.#state = "textLead";
        return "inside";
      default:
        return "inside";
    }
  }
}

/** How many bytes from `at` on cannot end the text that they belong to, nor begin its end. */
function plainBytes(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end < bytes.length && !ENDS.has(bytes[end] ?? ESC)) {
    end += 1;
  }
  return end - at;
}

function emit(kind: "text" | "broken", bytes: Uint8Array, sink: (token: Token) => void): void {
  if (bytes.length > 0) {
    sink({ kind, bytes });
  }
}

/** How many bytes a character has that begins with this one; 0: none does. */
function characterBytes(lead: number): number {
  if (lead < 0x80) {
    return 1;
  }
  if (lead >= 0xc2 && lead <= 0xdf) {
    return 2;
  }
  if (lead >= 0xe0 && lead <= 0xef) {
    return 3;
  }
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/** What these bytes are of one character of UTF-8. */
function character(bytes: ArrayLike<number>): "whole" | "begun" | "broken" {
  const lead = bytes[0] ?? 0;
  const count = characterBytes(lead);
  const lowest = LOWEST.get(lead) ?? 0x80;
  const highest = HIGHEST.get(lead) ?? 0xbf;
  for (let at = 1; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte < (at === 1 ? lowest : 0x80) || byte > (at === 1 ? highest : 0xbf)) {
      return "broken";
    }
  }
  if (bytes.length > count) {
    return "broken";
  }
  return bytes.length === count ? "whole" : "begun";
}

/** How many bytes at the end begin a character that goes on behind them. */
function incomplete(bytes: Uint8Array): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count += 1) {
    const tail = bytes.subarray(bytes.length - count);
    if ((tail[0] ?? 0) >= 0xc0) {
      return characterBytes(tail[0] ?? 0) > 0 && character(tail) === "begun" ? count : 0;
    }
  }
  return 0;
}
