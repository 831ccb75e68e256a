// Output without gap and repetition, input exactly once: over connections cut at any byte, daemons that die, owners that
// change, output that is skipped, trimmed or taken back. What is missing was named, and each write has its true outcome.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AbideError, NotApplied } from "../src/error.js";
import type { Lagged, StreamEvent } from "../src/event.js";
import type { LinkInput, SocketOutput } from "../src/link.js";
import { StreamLink } from "../src/stream-link.js";
import type { StreamTold } from "../src/stream-link.js";
import type { Attach, Mode, OnLag } from "../src/wire.js";
import { Writes } from "../src/writes.js";
import { ModelDaemon, SNAPSHOT, US } from "./harness/model-daemon.js";
import { size } from "./harness/place.js";
import { Dice } from "./harness/random.js";
import { Wire } from "./harness/wire.js";

/** What one history counted. */
interface Counts {
  dials: number;
  named: number;
  pictures: number;
  typed: number;
  notApplied: number;
  unknown: number;
}

/** A write as its caller sees it. */
interface Typed {
  readonly bytes: Buffer;
  readonly epoch: number;
  outcomes: (AbideError | "done")[];
}

/** What the caller of the link sees, checked as it comes. */
class Viewer {
  /** What was shown, by offset; a picture of the screen begins it anew. */
  readonly shown = new Map<number, number>();
  next: number | undefined;
  named = 0;
  pictures = 0;
  #owed: Lagged | undefined;

  readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
  }

  event(event: StreamEvent): void {
    const { seed } = this;
    assert.ok(this.#owed === undefined || event.type === "snapshot", `seed ${seed}: a picture was announced`);
    switch (event.type) {
      case "chunk":
        this.next ??= event.offset;
        assert.equal(event.offset, this.next, `seed ${seed}: output is dense`);
        event.bytes.forEach((byte, at) => this.shown.set(event.offset + at, byte));
        this.next += event.bytes.length;
        break;
      case "snapshot":
        assert.ok(SNAPSHOT.equals(event.bytes), `seed ${seed}: the picture is whole`);
        assert.equal(this.#owed?.to ?? event.offset, event.offset, `seed ${seed}: the picture that was announced`);
        assert.ok(this.next === undefined || this.next === event.offset, `seed ${seed}: a skip was named`);
        this.#owed = undefined;
        this.shown.clear();
        this.next = event.offset;
        this.pictures += 1;
        break;
      case "lagged":
        this.#lagged(event);
        break;
      case "ownership_changed":
        break;
      default:
        assert.fail(`seed ${seed}: nobody sent ${event.type}`);
    }
  }

  #lagged(event: Lagged): void {
    assert.ok(this.next === undefined || this.next === event.from, `seed ${this.seed}: from where it stood`);
    const standsTo = event.resumeOffset ?? event.from;
    for (const offset of [...this.shown.keys()].filter((offset) => offset >= standsTo)) {
      this.shown.delete(offset);
    }
    this.next = event.to;
    this.#owed = event.snapshot ? event : undefined;
    this.named += 1;
  }
}

class History {
  readonly daemon = new ModelDaemon();
  readonly viewer: Viewer;
  readonly typed: Typed[] = [];
  readonly #writes = new Writes();
  readonly #link: StreamLink;
  #now = 0;
  dials = 0;

  constructor(seed: number, mode: Mode, onLag: OnLag) {
    this.viewer = new Viewer(seed);
    const attach: Attach = { session: "s", mode, on_lag: onLag, from: onLag === "follow" ? { offset: 0 } : "snapshot" };
    const hex = seed.toString(16).padStart(8, "0");
    this.#link = new StreamLink({ clientId: US, seed: hex.repeat(4), mayStart: true }, attach, 0);
  }

  #input(input: LinkInput, reachable: boolean): void {
    this.#carryOut(this.#link.handle(this.#now, input), reachable);
  }

  #carryOut(outputs: (SocketOutput | StreamTold)[], reachable: boolean): void {
    for (const output of outputs) {
      switch (output.kind) {
        case "dial":
          this.dials += 1;
          this.daemon.cut();
          this.daemon.wire = reachable ? new Wire() : undefined;
          this.#input({ kind: reachable ? "connected" : "unreachable" }, reachable);
          break;
        case "send":
          this.daemon.wire?.toDaemon.send(output.bytes);
          break;
        case "close":
          this.daemon.cut();
          break;
        case "yield":
          this.viewer.event(output.event);
          break;
        case "applied":
          this.#writes.applied(output.ownerEpoch, output.offset);
          break;
        case "settled":
          this.#writes.settled(output.ownerEpoch, output.applied);
          break;
        case "room":
          this.#writes.feed(this.#link.ownerEpoch, (bytes) => this.#accept(bytes));
          break;
        case "attached":
          break;
        default:
          assert.fail(`seed ${this.viewer.seed}: ${output.kind}`);
      }
    }
  }

  #accept(bytes: Uint8Array): { taken: number; end: number } {
    const { taken, end, out } = this.#link.accept(bytes);
    this.#carryOut(out, true);
    return { taken, end };
  }

  #type(bytes: Buffer): void {
    if (this.#link.types && bytes.length > 0) {
      const typed: Typed = { bytes, epoch: this.#link.ownerEpoch, outcomes: [] };
      this.typed.push(typed);
      this.#writes.add(typed.epoch, bytes, (rest) => this.#accept(rest), (error) => typed.outcomes.push(error ?? "done"));
    }
  }

  step(dice: Dice, faults: boolean): void {
    this.#now += dice.below(20);
    const reachable = !faults || this.dials === 0 || !dice.oneIn(4);
    if ((this.#link.pollTimeout() ?? Infinity) <= this.#now) {
      this.#input({ kind: "timeout" }, reachable);
    }
    for (const frame of this.daemon.wire?.toDaemon.deliver(dice) ?? []) {
      this.daemon.frame(frame);
    }
    this.daemon.sendOutput(dice);
    this.daemon.writeInput(dice);
    if (!faults || dice.oneIn(3)) {
      this.daemon.tellApplied(false);
    }
    for (const frame of this.daemon.wire?.toClient.deliver(dice) ?? []) {
      this.#input({ kind: "frame", frame }, reachable);
    }
    if (faults) {
      this.#fault(dice, reachable);
    }
  }

  #fault(dice: Dice, reachable: boolean): void {
    this.daemon.output = Buffer.concat([this.daemon.output, dice.bytes(20)]);
    if (dice.oneIn(3)) {
      this.#type(dice.bytes(40));
    }
    // A first attach to a session that somebody else owns ends: that is another story.
    if (this.viewer.next !== undefined && dice.oneIn(12) && this.daemon.fault(dice)) {
      this.#input({ kind: "closed" }, reachable);
    }
  }

  isDone(): boolean {
    const isQuiet = this.daemon.wire?.toClient.isQuiet === true && this.daemon.wire.toDaemon.isQuiet;
    const isCaughtUp = this.viewer.next === this.daemon.output.length && this.daemon.attachment !== undefined;
    return isQuiet && isCaughtUp && this.typed.every((typed) => typed.outcomes.length > 0);
  }
}

/** What reached the program in an epoch is what its writes say, in their order. */
function checkInput(seed: number, reached: Buffer, writes: Typed[]): void {
  let at = 0;
  for (const [index, { bytes, outcomes }] of writes.entries()) {
    assert.equal(outcomes.length, 1, `seed ${seed}: a write ends once`);
    const [outcome] = outcomes;
    if (outcome instanceof AbideError && !(outcome instanceof NotApplied)) {
      assert.equal(outcome.code, "OUTCOME_UNKNOWN", `seed ${seed}`);
      const rest = Buffer.concat(writes.slice(index).map((write) => write.bytes));
      assert.ok(rest.subarray(0, reached.length - at).equals(reached.subarray(at)), `seed ${seed}: in order`);
      return;
    }
    const applied = outcome instanceof NotApplied ? bytes.subarray(0, outcome.from) : bytes;
    assert.ok(applied.equals(reached.subarray(at, at + applied.length)), `seed ${seed}: what was applied, in order`);
    at += applied.length;
  }
  assert.equal(at, reached.length, `seed ${seed}: nothing reached the program that was said not to`);
}

function check(seed: number, mode: Mode, onLag: OnLag): Counts {
  const dice = new Dice(seed);
  const history = new History(seed, mode, onLag);
  for (let step = 0; step < 200; step += 1) {
    history.step(dice, true);
  }
  for (let step = 0; step < 20_000 && !history.isDone(); step += 1) {
    history.step(dice, false);
  }
  const { daemon, viewer, typed } = history;
  assert.ok(history.isDone(), `seed ${seed}: it catches up: ${viewer.next} of ${daemon.output.length}`);
  for (const [offset, byte] of viewer.shown) {
    assert.equal(byte, daemon.output[offset], `seed ${seed}: the byte at ${offset}`);
  }
  const epochs = new Set([...typed.map(({ epoch }) => epoch), ...daemon.reached.keys()]);
  for (const epoch of epochs) {
    const reached = daemon.reached.get(epoch) ?? Buffer.alloc(0);
    checkInput(seed, reached, typed.filter((write) => write.epoch === epoch));
  }
  const outcomes = typed.flatMap((write) => write.outcomes);
  const failed = outcomes.filter((outcome) => outcome !== "done");
  const notApplied = failed.filter((outcome) => outcome instanceof NotApplied).length;
  return {
    dials: history.dials,
    named: viewer.named,
    pictures: viewer.pictures,
    typed: typed.reduce((sum, { bytes }) => sum + bytes.length, 0),
    notApplied,
    unknown: failed.length - notApplied,
  };
}

test("for owners and observers, terminals and recorders", (context) => {
  const counts: Counts = { dials: 0, named: 0, pictures: 0, typed: 0, notApplied: 0, unknown: 0 };
  for (let seed = 0; seed < size(1_000, 50_000); seed += 1) {
    const counted = check(seed, seed % 4 === 3 ? "observer" : "owner", seed % 2 === 0 ? "resync" : "follow");
    for (const name of Object.keys(counts) as (keyof Counts)[]) {
      counts[name] += counted[name];
    }
  }
  context.diagnostic(JSON.stringify(counts));
  const { dials, named, pictures, typed, notApplied, unknown } = counts;
  const isEnough = dials > 3_000 && named > 300 && pictures > 500 && typed > 50_000 && notApplied > 200 && unknown > 0;
  assert.ok(isEnough, "too few faults struck");
  assert.ok(unknown * 10 < notApplied, "nearly always it can be told what reached the program");
});
