import { AbideError } from "./error.js";

// The frames of protocol v1: `u32 length` (of what follows) · `u8 kind` · payload, numbers little-endian. Kind 1 is a
// JSON message, 2 to 4 carry the bytes of a session as they are.

/** The protocol's name in the hello. */
export const PROTOCOL = "abide-terminal";
/** The one version spoken here. */
export const VERSION = 1;
/** Largest length field of a frame, which counts the kind and the payload. */
export const FRAME_BYTES_MAX = 1_048_576;

const LENGTH_BYTES = 4;
const HEADER_BYTES = LENGTH_BYTES + 1;
const MESSAGE = 1;
const OUTPUT = 2;
const INPUT = 3;
const SNAPSHOT = 4;

/** One frame. Payload bytes share the memory in which they were received. */
export type Frame =
  /** One JSON message, both ways, not read yet. */
  | { kind: "message"; text: Uint8Array }
  /** Output, daemon to stream: at least one byte, the first at `offset`. */
  | { kind: "output"; offset: number; bytes: Uint8Array }
  /** Input, stream to daemon: at least one byte, counted in `ownerEpoch`. */
  | { kind: "input"; ownerEpoch: number; inputOffset: number; bytes: Uint8Array }
  /** A part of a snapshot, daemon to stream. */
  | { kind: "snapshot"; position: number; bytes: Uint8Array };

/** A message as a frame. */
export function messageFrame(message: object): Buffer {
  const text = Buffer.from(JSON.stringify(message), "utf8");
  return Buffer.concat([header(MESSAGE, text.length), text]);
}

/** Input as a frame: 1 to 65,536 bytes. */
export function inputFrame(ownerEpoch: number, inputOffset: number, bytes: Uint8Array): Buffer {
  const fields = Buffer.alloc(12);
  fields.writeUInt32LE(ownerEpoch, 0);
  fields.writeBigUInt64LE(BigInt(inputOffset), 4);
  return Buffer.concat([header(INPUT, fields.length + bytes.length), fields, bytes]);
}

function header(kind: number, payloadBytes: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32LE(payloadBytes + 1, 0);
  bytes.writeUInt8(kind, LENGTH_BYTES);
  return bytes;
}

/** Cuts what a peer sends into frames, wherever the reads happen to end. It holds at most one frame that is not whole. */
export class Decoder {
  /** Reads that were not cut yet, and where in the first of them the next frame begins. */
  #reads: Buffer[] = [];
  #bytes = 0;

  /** Takes bytes that were read; they must not be changed afterwards. */
  extend(bytes: Uint8Array): void {
    if (bytes.length > 0) {
      this.#reads.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
      this.#bytes += bytes.length;
    }
  }

  /**
   * The next whole frame; undefined until more bytes come.
   *
   * Throws `FRAME_TOO_LARGE` for a length of 0 or over the limit, `PROTO_MALFORMED` for an unknown kind, a payload
   * shorter than its fields, or a number that JavaScript does not hold exactly. The connection is to be closed then.
   */
  next(): Frame | undefined {
    if (this.#bytes < LENGTH_BYTES) {
      return undefined;
    }
    const length = this.#front(LENGTH_BYTES).readUInt32LE(0);
    if (length === 0 || length > FRAME_BYTES_MAX) {
      throw new AbideError("FRAME_TOO_LARGE", `a frame of ${length} bytes`, { length });
    }
    if (this.#bytes < LENGTH_BYTES + length) {
      return undefined;
    }
    const whole = this.#front(LENGTH_BYTES + length);
    this.#drop(LENGTH_BYTES + length);
    return typed(whole.readUInt8(LENGTH_BYTES), whole.subarray(HEADER_BYTES, LENGTH_BYTES + length));
  }

  /** True if the bytes so far end inside a frame. */
  get isInsideFrame(): boolean {
    return this.#bytes > 0;
  }

  /** At least the first `count` bytes in one piece; so many must be there. */
  #front(count: number): Buffer {
    const [first] = this.#reads;
    if (first !== undefined && first.length >= count) {
      return first;
    }
    const joined = Buffer.concat(this.#reads);
    this.#reads = [joined];
    return joined;
  }

  #drop(count: number): void {
    const [first, ...rest] = this.#reads;
    if (first !== undefined) {
      const left = first.subarray(count);
      this.#reads = left.length > 0 ? [left, ...rest] : rest;
      this.#bytes -= count;
    }
  }
}

/** Bytes that the fields of a frame of this kind take, and the least that must follow them. */
const SHAPES = new Map([
  [MESSAGE, [0, 1]],
  [OUTPUT, [8, 1]],
  [INPUT, [12, 1]],
  [SNAPSHOT, [8, 0]],
] as const);

function typed(kind: number, payload: Buffer): Frame {
  const [fieldBytes, dataBytesMin] = SHAPES.get(kind as 1 | 2 | 3 | 4) ?? [Infinity, 0];
  if (payload.length < fieldBytes + dataBytesMin) {
    throw new AbideError("PROTO_MALFORMED", `a frame of kind ${kind} with a payload of ${payload.length} bytes`);
  }
  const bytes = payload.subarray(fieldBytes);
  switch (kind) {
    case OUTPUT:
      return { kind: "output", offset: exact(payload, 0), bytes };
    case INPUT:
      return { kind: "input", ownerEpoch: payload.readUInt32LE(0), inputOffset: exact(payload, 4), bytes };
    case SNAPSHOT:
      return { kind: "snapshot", position: exact(payload, 0), bytes };
    default:
      return { kind: "message", text: bytes };
  }
}

function exact(payload: Buffer, at: number): number {
  const number = payload.readBigUInt64LE(at);
  if (number > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new AbideError("PROTO_MALFORMED", "a number over 2^53 - 1");
  }
  return Number(number);
}
