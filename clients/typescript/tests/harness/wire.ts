import { Decoder } from "../../src/frame.js";
import type { Frame } from "../../src/frame.js";
import type { HelloOk } from "../../src/wire.js";
import type { Dice } from "./random.js";

/** One direction of a connection: bytes that are delivered a few at a time. */
class Lane {
  #bytes = Buffer.alloc(0);
  readonly #decoder = new Decoder();

  get isQuiet(): boolean {
    return this.#bytes.length === 0;
  }

  send(bytes: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
  }

  /** Delivers some bytes; the frames that became whole. */
  deliver(dice: Dice): Frame[] {
    const some = [this.#bytes.length, dice.below(40), dice.below(1_500)][dice.below(3)] ?? 0;
    this.#decoder.extend(this.#bytes.subarray(0, some));
    this.#bytes = this.#bytes.subarray(some);
    const frames: Frame[] = [];
    for (let frame = this.#decoder.next(); frame !== undefined; frame = this.#decoder.next()) {
      frames.push(frame);
    }
    return frames;
  }
}

/** A connection between a link and a model daemon; it is lost when it is cut. */
export class Wire {
  readonly toDaemon = new Lane();
  readonly toClient = new Lane();
}

/** The text of a frame that carries a message. */
export function messageOf(frame: Frame): Record<string, unknown> & { type: string } {
  if (frame.kind !== "message") {
    throw new Error(`a frame of kind ${frame.kind} is no message`);
  }
  return JSON.parse(Buffer.from(frame.text).toString("utf8")) as Record<string, unknown> & { type: string };
}

/** What a model daemon answers to a hello. */
export const HELLO_OK: HelloOk = {
  type: "hello_ok",
  id: "0",
  version: 1,
  daemon_id: "model",
  daemon_epoch: 1,
  boot_id: "boot",
  daemon_version: "0",
  limits: { frame_bytes_max: 1_048_576, input_window: 65_536, observers_max: 64 },
  owned: [],
};
