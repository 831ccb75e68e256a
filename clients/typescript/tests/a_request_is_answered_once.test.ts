// Every call ends once; what may be repeated is carried out, once, however often its connection is cut.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ControlLink } from "../src/control-link.js";
import type { Call, ControlTold } from "../src/control-link.js";
import { messageFrame } from "../src/frame.js";
import type { Frame } from "../src/frame.js";
import type { LinkInput, SocketOutput } from "../src/link.js";
import { size } from "./harness/place.js";
import { Dice } from "./harness/random.js";
import { HELLO_OK, Wire, messageOf } from "./harness/wire.js";

const CALLS = 12;

/** A daemon that remembers what it was asked for. */
class Model {
  wire: Wire | undefined;
  greeted = false;
  /** How often a session was asked for, by its key. */
  readonly created = new Map<string, number>();
  shutdowns = 0;

  say(message: object): void {
    this.wire?.toClient.send(messageFrame(message));
  }

  frame(frame: Frame, dice: Dice): void {
    const message = messageOf(frame);
    if (!this.greeted) {
      assert.equal(message.type, "hello");
      this.greeted = true;
      this.say(HELLO_OK);
    } else if (dice.oneIn(12)) {
      const error = { code: "SESSION_STARTING", message: "starting", retry: "retry" };
      this.say({ type: "error", id: message["id"], ...error });
    } else {
      this.#carryOut(message);
      this.say({ type: "ok", id: message["id"], result: { of: message.type } });
    }
  }

  #carryOut(message: Record<string, unknown>): void {
    if (message["type"] === "create") {
      const key = String(message["key"]);
      assert.match(key, /^[0-9a-f]{32}:\d+$/, "a link draws a key for each create");
      this.created.set(key, (this.created.get(key) ?? 0) + 1);
    } else if (message["type"] === "shutdown") {
      this.shutdowns += 1;
    }
  }
}

class History {
  readonly model = new Model();
  readonly answers = new Map<number, (ControlTold & { kind: "completed" | "failed" })[]>();
  readonly #link: ControlLink;
  #now = 0;
  dials = 0;

  constructor(seed: number) {
    const hex = seed.toString(16).padStart(8, "0");
    this.#link = new ControlLink({ clientId: "c", seed: hex.repeat(4), mayStart: true }, 0);
  }

  call(call: Call): number {
    const { number, out } = this.#link.call(this.#now, call);
    this.#carryOut(out, true);
    return number;
  }

  #input(input: LinkInput, reachable: boolean): void {
    this.#carryOut(this.#link.handle(this.#now, input), reachable);
  }

  #carryOut(outputs: (SocketOutput | ControlTold)[], reachable: boolean): void {
    for (const output of outputs) {
      switch (output.kind) {
        case "dial":
          this.dials += 1;
          this.model.wire = reachable ? new Wire() : undefined;
          this.model.greeted = false;
          this.#input({ kind: reachable ? "connected" : "unreachable" }, reachable);
          break;
        case "send":
          this.model.wire?.toDaemon.send(output.bytes);
          break;
        case "close":
          this.model.wire = undefined;
          break;
        case "completed":
        case "failed":
          this.answers.set(output.call, [...(this.answers.get(output.call) ?? []), output]);
          break;
        case "ended":
          assert.fail(`nothing here ends a link: ${output.error.message}`);
      }
    }
  }

  step(dice: Dice, faults: boolean): void {
    this.#now += dice.below(30);
    // A daemon that was never reached is given up after a while: so the first dial succeeds.
    const reachable = !faults || this.dials === 0 || !dice.oneIn(3);
    if ((this.#link.pollTimeout() ?? Infinity) <= this.#now) {
      this.#input({ kind: "timeout" }, reachable);
    }
    for (const frame of this.model.wire?.toDaemon.deliver(dice) ?? []) {
      this.model.frame(frame, dice);
    }
    for (const frame of this.model.wire?.toClient.deliver(dice) ?? []) {
      this.#input({ kind: "frame", frame }, reachable);
    }
    if (faults && this.model.wire !== undefined && dice.oneIn(8)) {
      if (this.model.greeted && dice.oneIn(3)) {
        this.model.say({ type: "event", event: "detached", code: "DAEMON_STOPPING", restart: true });
      }
      this.model.wire = undefined;
      this.#input({ kind: "closed" }, reachable);
    }
  }
}

function draw(dice: Dice): Call {
  const calls: Call[] = [
    { type: "shutdown", request: { mode: "keep" } },
    { type: "recovery_report", request: {} },
    { type: "create", request: { cols: 80, rows: 24 } },
    { type: "create", request: { cols: 80, rows: 24, name: "x" } },
  ];
  return calls[dice.below(calls.length)] as Call;
}

function check(seed: number): { cuts: number; repeats: number; unknown: number } {
  const dice = new Dice(seed);
  const history = new History(seed);
  const asked = new Map<number, Call["type"]>();
  for (let call = 0; call < CALLS; call += 1) {
    for (let step = dice.below(12); step > 0; step -= 1) {
      history.step(dice, true);
    }
    const request = draw(dice);
    asked.set(history.call(request), request.type);
  }
  for (let step = 0; step < 300; step += 1) {
    history.step(dice, true);
  }
  for (let step = 0; step < 20_000 && history.answers.size < CALLS; step += 1) {
    history.step(dice, false);
  }
  let [shutdowns, unknown] = [0, 0];
  for (const [number, type] of asked) {
    const answers = history.answers.get(number) ?? [];
    assert.equal(answers.length, 1, `seed ${seed}: the answers to call ${number}`);
    const [answer] = answers;
    if (answer?.kind === "failed") {
      const codes = type === "shutdown" ? ["OUTCOME_UNKNOWN", "SESSION_STARTING"] : ["SESSION_STARTING"];
      assert.ok(codes.includes(answer.error.code), `seed ${seed}: ${type} ended with ${answer.error.code}`);
      unknown += answer.error.code === "OUTCOME_UNKNOWN" ? 1 : 0;
    } else {
      shutdowns += type === "shutdown" ? 1 : 0;
      assert.deepEqual(answer?.result, { of: type }, `seed ${seed}: its own answer`);
    }
  }
  const { created } = history.model;
  const types = [...asked.values()];
  // Each create has its own key, so each happened once, however often it was sent.
  assert.ok(created.size <= types.filter((type) => type === "create").length, `seed ${seed}`);
  assert.ok(history.model.shutdowns >= shutdowns, `seed ${seed}`);
  const sent = types.filter((type) => type === "shutdown").length;
  assert.ok(history.model.shutdowns <= sent, `seed ${seed}: a shutdown was repeated`);
  return { cuts: history.dials - 1, repeats: [...created.values()].filter((count) => count > 1).length, unknown };
}

test("over any number of lost connections", (context) => {
  let [cuts, repeats, unknown] = [0, 0, 0];
  for (let seed = 0; seed < size(1_000, 50_000); seed += 1) {
    const counted = check(seed);
    cuts += counted.cuts;
    repeats += counted.repeats;
    unknown += counted.unknown;
  }
  context.diagnostic(`${cuts} cuts, ${repeats} repeated creates, ${unknown} unknown outcomes`);
  assert.ok(cuts > 5_000 && repeats > 250 && unknown > 100, "too few faults struck");
});

test("a closed client tells everybody who waits", () => {
  const link = new ControlLink({ clientId: "c", seed: "0".repeat(32), mayStart: false }, 0);
  link.call(0, { type: "list", request: {} });
  const codes = link.close().map((output) => (output.kind === "failed" ? output.error.code : output.kind));
  assert.deepEqual(codes, ["close", "DETACHED", "ended"]);
  const [late] = link.call(0, { type: "list", request: {} }).out;
  assert.equal(late?.kind, "failed");
});
