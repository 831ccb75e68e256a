import assert from "node:assert/strict";

import { messageFrame } from "../../src/frame.js";
import type { Frame } from "../../src/frame.js";
import type { Attach, Attached, Former, Mode, OnLag, StreamMessage } from "../../src/wire.js";
import type { Dice } from "./random.js";
import { HELLO_OK, Wire, messageOf } from "./wire.js";

/** The client under test. */
export const US = "us";
/** Input that may be under way; small, so that it is used up. */
const INPUT_WINDOW = 64;
/** Large beside what is delivered at once, so that cuts fall into it. */
export const SNAPSHOT = Buffer.alloc(2_000, "#");

/** The stream of the connection that stands. */
interface Attachment {
  mode: Mode;
  cursor: number;
  toldApplied: number;
  onLag: OnLag;
}

function dataFrame(kind: number, at: number, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32LE(9 + bytes.length, 0);
  head.writeUInt8(kind, 4);
  head.writeBigUInt64LE(BigInt(at), 5);
  return Buffer.concat([head, bytes]);
}

/** A daemon with one session, and the holder behind it. */
export class ModelDaemon {
  wire: Wire | undefined;
  attachment: Attachment | undefined;
  output: Buffer = Buffer.from("login: ");
  /** What reached the program in each epoch of ours. */
  readonly reached = new Map<number, Buffer>();
  #greeted = false;
  #base = 0;
  #logEpoch = 1;
  #owner: string | undefined;
  #ownerEpoch = 0;
  /** Input of the present epoch: what the holder has, and how much of it is written to the terminal. */
  #accepted: Buffer = Buffer.alloc(0);
  #applied = 0;
  #former: Former = { owner_epoch: 0, input_applied: 0 };
  /** Where the log was cut at the end of each of its epochs. */
  readonly #logCuts: number[] = [];

  cut(): void {
    this.wire = undefined;
    this.#greeted = false;
    this.attachment = undefined;
  }

  frame(frame: Frame): void {
    if (frame.kind === "input") {
      this.#input(frame.ownerEpoch, frame.inputOffset, frame.bytes);
      return;
    }
    const message = messageOf(frame);
    if (!this.#greeted) {
      assert.equal(message.type, "hello");
      this.#greeted = true;
      this.#say(HELLO_OK);
    } else if (message.type === "attach") {
      this.#attach(String(message["id"]), message as unknown as Attach);
    } else {
      assert.equal(message.type, "input_state");
      this.tellApplied(true);
    }
  }

  #say(message: StreamMessage): void {
    this.wire?.toClient.send(messageFrame(message));
  }

  #attach(id: string, attach: Attach): void {
    const end = this.output.length;
    const { from } = attach;
    if (typeof from === "object") {
      // What was appended in an older epoch and cut off does not stand any more.
      const standsTo = Math.min(end, ...(from.epoch === undefined ? [] : this.#logCuts.slice(from.epoch - 1)));
      if (from.offset < this.#base) {
        const details = { base_offset: this.#base };
        return this.#say({ type: "error", id, code: "OFFSET_TRIMMED", message: "", retry: "resume", details });
      }
      if (from.offset > standsTo) {
        const details = { end_offset: end, epoch: this.#logEpoch, resume_offset: standsTo };
        return this.#say({ type: "error", id, code: "OFFSET_AHEAD", message: "", retry: "resume", details });
      }
    }
    if (attach.mode === "owner" && this.#owner !== undefined && this.#owner !== US) {
      return this.#say({ type: "error", id, code: "SESSION_OWNED", message: "", retry: "give_up" });
    }
    if (attach.mode === "owner" && this.#owner === undefined) {
      this.changeOwner(US);
    }
    const offset = typeof from === "object" ? from.offset : end;
    const mode = this.#owner === US ? attach.mode : "observer";
    this.attachment = { mode, cursor: offset, toldApplied: this.#applied, onLag: attach.on_lag ?? "resync" };
    const attached: Attached = {
      type: "attached",
      id,
      session: "s",
      epoch: this.#logEpoch,
      state: "Running",
      offset,
      base_offset: this.#base,
      end_offset: end,
      input_applied: this.#applied,
      input_window: INPUT_WINDOW,
      former: this.#former,
      ...this.#picture(mode, typeof from === "object" ? 0 : SNAPSHOT.length),
    };
    this.#say(attached);
    this.#draw(attached.snapshot_bytes);
  }

  /** What `attached` and `lagged` have in common. */
  #picture(mode: Mode, snapshot_bytes: number): Omit<Attached, keyof typeof ABSENT> {
    const owner = this.#owner === undefined ? {} : { owner: this.#owner };
    return { incarnation: 1, cols: 80, rows: 24, owner_epoch: this.#ownerEpoch, mode, snapshot_bytes, ...owner };
  }

  #draw(bytes: number): void {
    for (let position = 0; position < bytes; position += 100) {
      this.wire?.toClient.send(dataFrame(4, position, SNAPSHOT.subarray(position, position + 100)));
    }
  }

  /** The holder's rule: the known part is cut off, the rest is taken, a gap is refused. */
  #input(epoch: number, offset: number, bytes: Uint8Array): void {
    const end = this.#accepted.length;
    const refuse = (code: "ROLE_FORBIDDEN" | "INPUT_GAP", input_offset: number): void => {
      const retry = code === "INPUT_GAP" ? "resume" : "give_up";
      this.#say({ type: "error", code, message: "", retry, details: { input_offset } });
    };
    if (this.attachment?.mode !== "owner" || epoch !== this.#ownerEpoch) {
      return refuse("ROLE_FORBIDDEN", offset);
    }
    if (offset > end) {
      return refuse("INPUT_GAP", end);
    }
    assert.ok(offset + bytes.length <= this.#applied + INPUT_WINDOW, "the client keeps to the window");
    this.#accepted = Buffer.concat([this.#accepted, bytes.subarray(end - offset)]);
  }

  /** The holder writes some of what it has to the terminal. */
  writeInput(dice: Dice): void {
    const to = this.#applied + dice.below(this.#accepted.length - this.#applied + 1);
    if (this.#owner === US) {
      const before = this.reached.get(this.#ownerEpoch) ?? Buffer.alloc(0);
      this.reached.set(this.#ownerEpoch, Buffer.concat([before, this.#accepted.subarray(this.#applied, to)]));
    }
    this.#applied = to;
  }

  tellApplied(isAsked: boolean): void {
    const { attachment } = this;
    if (attachment?.mode === "owner" && (isAsked || attachment.toldApplied < this.#applied)) {
      attachment.toldApplied = this.#applied;
      this.#say({ type: "input_applied", owner_epoch: this.#ownerEpoch, input_offset: this.#applied });
    }
  }

  changeOwner(owner: string | undefined): void {
    // The mark of the change is in the log before the holder has told the count, so either may come first.
    const isCountFirst = this.#ownerEpoch % 2 === 0;
    const count = { owner_epoch: this.#ownerEpoch, input_offset: this.#applied, final: true } as const;
    const isTold = this.attachment?.mode === "owner";
    if (isTold && isCountFirst) {
      this.#say({ type: "input_applied", ...count });
    }
    if (this.#applied > 0) {
      this.#former = { owner_epoch: this.#ownerEpoch, input_applied: this.#applied };
    }
    const former = this.#owner === undefined ? {} : { former: this.#owner };
    this.#owner = owner;
    this.#ownerEpoch += 1;
    this.#accepted = Buffer.alloc(0);
    this.#applied = 0;
    if (this.attachment !== undefined) {
      const mode = owner === US ? "owner" : "observer";
      Object.assign(this.attachment, { mode, toldApplied: 0 });
      this.#say({
        type: "ownership_changed",
        offset: this.attachment.cursor,
        ...former,
        ...(owner === undefined ? {} : { owner }),
        owner_epoch: this.#ownerEpoch,
        cause: "takeover",
        mode,
      });
    }
    if (isTold && !isCountFirst) {
      this.#say({ type: "input_applied", ...count });
    }
  }

  sendOutput(dice: Dice): void {
    const { attachment } = this;
    if (attachment !== undefined) {
      const from = attachment.cursor;
      const to = Math.min(this.output.length, from + dice.below(30));
      attachment.cursor = to;
      // What was sent may be sent once more.
      const again = dice.oneIn(10) ? Math.max(0, from - dice.below(5)) : from;
      if (to > from) {
        this.wire?.toClient.send(dataFrame(2, again, this.output.subarray(again, to)));
      }
    }
  }

  /** A slow stream is brought to the end with a picture, if it wants that. */
  resync(): void {
    const { attachment } = this;
    const to = this.output.length;
    if (attachment?.onLag === "resync" && attachment.cursor < to) {
      const from = attachment.cursor;
      attachment.cursor = to;
      this.#say({ type: "lagged", from, to, ...this.#picture(attachment.mode, SNAPSHOT.length) });
      this.#draw(SNAPSHOT.length);
    }
  }

  /** A fault that needs no connection, or ends it; whether it ended. */
  fault(dice: Dice): boolean {
    const end = this.output.length;
    switch (dice.below(12)) {
      case 0:
        // What a stream has not got yet is not trimmed under it here: its connection ends first.
        this.#base += dice.below(end - this.#base + 1);
        break;
      case 1: {
        // A power cut: the end of the log is gone, and a new epoch of it begins.
        const keep = end - dice.below(Math.min(20, end - this.#base) + 1);
        this.output = this.output.subarray(0, keep);
        this.#logCuts.push(keep);
        this.#logEpoch += 1;
        break;
      }
      case 2:
        this.changeOwner("them");
        if (dice.oneIn(2)) {
          this.#accepted = dice.bytes(9);
          this.#applied = this.#accepted.length;
        }
        return false;
      case 3:
        this.changeOwner(undefined);
        return false;
      case 4:
        this.changeOwner(US);
        return false;
      case 5:
        this.resync();
        return false;
    }
    this.cut();
    return true;
  }
}

/** The fields of `attached` that a `lagged` has not. */
const ABSENT = {
  type: 0,
  id: 0,
  session: 0,
  epoch: 0,
  state: 0,
  offset: 0,
  base_offset: 0,
  end_offset: 0,
  input_applied: 0,
  input_window: 0,
  former: 0,
};
