import { Connection, isRestart } from "./connection.js";
import type { Change, Identity } from "./connection.js";
import { AbideError } from "./error.js";
import { messageFrame } from "./frame.js";
import type { Link, LinkEnd, LinkInput, SocketOutput } from "./link.js";
import { readControl } from "./message.js";
import type { BackpressureWarning, ErrorMessage, Happened, HelloOk, Progress, Requests, RequestType } from "./wire.js";

/** Pause before a request is sent again whose cause passes by itself. */
const RETRY_MS = 100;
/** How long such a request is tried. */
const RETRY_FOR_MS = 5_000;
/** Requests that may be unanswered; beyond them the daemon does not read. */
const UNANSWERED_MAX = 256;

/** A request as a caller makes it: its type, and what it carries beside `type` and `id`. */
export type Call = { [Type in RequestType]: { type: Type; request: Requests[Type]["request"] } }[RequestType];

/** What a control link tells beside what is to be done about its socket. */
export type ControlTold =
  | LinkEnd
  /** A connection stands, the first or another one: what was subscribed to on the one before is not any more. */
  | { kind: "opened"; hello: HelloOk }
  /** The connection is lost; the link is working on it. */
  | { kind: "away" }
  /** A call has ended well, with what its `ok` brought. */
  | { kind: "completed"; call: number; result: unknown }
  /** A call has ended with an error. */
  | { kind: "failed"; call: number; error: AbideError }
  /** Something happened that was subscribed to, or did not. */
  | { kind: "event"; event: Happened | Progress }
  /** A queue grows, or has shrunk. */
  | { kind: "backpressure"; warning: BackpressureWarning };

type ControlOutput = SocketOutput | ControlTold;

interface Waiting {
  readonly call: Call;
  sent: boolean;
  /** Not to be sent before this time. */
  notBefore: number;
  /** When its first refusal that passes by itself came. */
  triedSince: number | undefined;
}

/**
 * A control connection that comes back: each request is answered once. It is repeated after a lost connection where that
 * is safe, and is `OUTCOME_UNKNOWN` where it is not. Each create gets a key, so that it is safe.
 */
export class ControlLink implements Link<ControlTold> {
  readonly #connection: Connection;
  readonly #calls = new Map<number, Waiting>();
  #out: ControlOutput[] = [];
  #numbers = 0;
  #end: AbideError | undefined;

  /** A link that dials at once. */
  constructor(identity: Identity, now: number) {
    this.#connection = new Connection(identity, "control", now);
  }

  pollTimeout(): number | undefined {
    const retries = [...this.#calls.values()].filter((waiting) => !waiting.sent && waiting.notBefore > 0);
    const times = this.#connection.isOpen ? retries.map((waiting) => waiting.notBefore) : [];
    const connection = this.#connection.pollTimeout();
    return connection === undefined && times.length === 0 ? undefined : Math.min(connection ?? Infinity, ...times);
  }

  handle(now: number, input: LinkInput): ControlOutput[] {
    if (!this.#connection.isEnded) {
      this.#input(now, input);
    }
    return this.#take();
  }

  /** Begins a call; its number, which `completed` or `failed` will name. */
  call(now: number, call: Call): { number: number; out: ControlOutput[] } {
    this.#numbers += 1;
    const number = this.#numbers;
    if (this.#end !== undefined) {
      return { number, out: [{ kind: "failed", call: number, error: this.#end }] };
    }
    const keyed = call.type === "create" && call.request.key === undefined ? this.#withKey(call, number) : call;
    this.#calls.set(number, { call: keyed, sent: false, notBefore: 0, triedSince: undefined });
    this.#sendWaiting(now);
    return { number, out: this.#take() };
  }

  /** Ends the link: whoever waits is told so. */
  close(): ControlOutput[] {
    if (!this.#connection.isEnded) {
      this.#forgetSent(() => true, "the client was closed before the answer came");
      this.#apply(0, this.#connection.end(new AbideError("DETACHED", "the client was closed")));
    }
    return this.#take();
  }

  #take(): ControlOutput[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }

  /** A key that nobody else draws: the link's random seed and a count. */
  #withKey(call: Call & { type: "create" }, number: number): Call {
    return { type: "create", request: { key: `${this.#connection.seed}:${number}`, ...call.request } };
  }

  #input(now: number, input: LinkInput): void {
    switch (input.kind) {
      case "connected":
        this.#out.push({ kind: "send", bytes: this.#connection.connected(now) });
        break;
      case "unreachable":
        this.#apply(now, this.#connection.unreachable(now));
        break;
      case "frame":
        if (input.frame.kind === "message") {
          this.#message(now, input.frame.text);
        } else {
          this.#broken(now);
        }
        break;
      case "closed":
        this.#broken(now);
        break;
      case "timeout":
        this.#timeout(now);
    }
  }

  #timeout(now: number): void {
    const dial = this.#connection.due(now);
    if (dial !== undefined) {
      this.#out.push({ kind: "dial", ...dial });
    } else if (this.#connection.isSilent(now)) {
      this.#broken(now);
    }
    this.#sendWaiting(now);
  }

  /** Sends what was not sent on this connection and is due, in the order of the calls. */
  #sendWaiting(now: number): void {
    if (!this.#connection.isOpen) {
      return;
    }
    let unanswered = [...this.#calls.values()].filter((waiting) => waiting.sent).length;
    for (const [number, waiting] of this.#calls) {
      if (!waiting.sent && waiting.notBefore <= now && unanswered < UNANSWERED_MAX) {
        const { type, request } = waiting.call;
        this.#out.push({ kind: "send", bytes: messageFrame({ type, id: String(number), ...request }) });
        waiting.sent = true;
        waiting.notBefore = 0;
        unanswered += 1;
      }
    }
  }

  #message(now: number, text: Uint8Array): void {
    const message = readControl(text);
    switch (message?.type) {
      case "hello_ok":
        this.#apply(now, this.#connection.greeted(message));
        break;
      case "ok":
        if (this.#calls.delete(Number(message.id))) {
          this.#out.push({ kind: "completed", call: Number(message.id), result: message.result });
        }
        this.#sendWaiting(now);
        break;
      case "error":
        if (message.id !== undefined && this.#connection.isOpen) {
          this.#refused(now, Number(message.id), message);
          this.#sendWaiting(now);
        } else {
          this.#apply(now, this.#connection.refused(now, message));
        }
        break;
      case "event":
        if (message.event !== "detached") {
          this.#out.push({ kind: "event", event: message });
        } else if (message.code === "DAEMON_STOPPING") {
          this.#connection.stopTold(message.restart === true);
        } else {
          const error = new AbideError(message.code, "the daemon closed the connection");
          this.#apply(now, this.#connection.end(error));
        }
        break;
      case "backpressure_warning":
        this.#out.push({ kind: "backpressure", warning: message });
        break;
      default:
        this.#broken(now);
    }
  }

  /** A refusal: some pass by themselves, the others are the caller's to act on. */
  #refused(now: number, number: number, message: ErrorMessage): void {
    const waiting = this.#calls.get(number);
    if (waiting === undefined) {
      return;
    }
    const error = AbideError.of(message);
    const passes = error.code === "SESSION_STARTING" || error.code === "HOLDER_UNRESPONSIVE";
    const since = waiting.triedSince ?? now;
    if (passes && now - since < RETRY_FOR_MS) {
      waiting.sent = false;
      waiting.notBefore = this.#connection.pause(now, RETRY_MS);
      waiting.triedSince = since;
    } else if (error.code === "DAEMON_STOPPING" && isRestart(error)) {
      // Nothing happened, and a daemon follows: it is sent on the next connection.
      this.#connection.stopTold(true);
      waiting.sent = false;
      waiting.notBefore = Infinity;
    } else {
      this.#calls.delete(number);
      this.#out.push({ kind: "failed", call: number, error });
    }
  }

  #broken(now: number): void {
    this.#apply(now, this.#connection.lost(now));
  }

  #apply(now: number, change: Change): void {
    switch (change.kind) {
      case "none":
        break;
      case "opened":
        this.#out.push({ kind: "opened", hello: change.hello });
        this.#sendWaiting(now);
        break;
      case "lost":
        this.#out.push({ kind: "close" }, { kind: "away" });
        this.#forgetSent((call) => !isRepeatable(call), "the connection was lost before the answer came");
        for (const waiting of this.#calls.values()) {
          waiting.sent = false;
          waiting.notBefore = 0;
        }
        break;
      case "ended":
        this.#out.push({ kind: "close" });
        for (const number of this.#calls.keys()) {
          this.#out.push({ kind: "failed", call: number, error: change.error });
        }
        this.#calls.clear();
        this.#end = change.error;
        this.#out.push({ kind: "ended", error: change.error, told: false });
    }
  }

  /** Of requests that were sent and not answered nobody can tell what became. */
  #forgetSent(which: (call: Call) => boolean, why: string): void {
    for (const [number, waiting] of this.#calls) {
      if (waiting.sent && which(waiting.call)) {
        this.#calls.delete(number);
        this.#out.push({ kind: "failed", call: number, error: new AbideError("OUTCOME_UNKNOWN", why) });
      }
    }
  }
}

/**
 * Whether it may be sent again when its answer was lost: all but a create without a key, a write without an offset, and
 * a shutdown, which would meet the next daemon.
 */
function isRepeatable(call: Call): boolean {
  switch (call.type) {
    case "create":
      return call.request.key !== undefined;
    case "write":
      return call.request.input_offset !== undefined;
    case "shutdown":
      return false;
    default:
      return true;
  }
}
