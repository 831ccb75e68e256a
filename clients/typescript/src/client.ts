import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";

import type { Identity } from "./connection.js";
import { ControlLink } from "./control-link.js";
import type { Call, ControlTold } from "./control-link.js";
import { defaultPath, startDaemon } from "./daemon.js";
import { AbideError } from "./error.js";
import { Events } from "./events.js";
import { Stream, attachOf } from "./stream.js";
import type { AttachOptions } from "./stream.js";
import { Transport, now } from "./transport.js";
import type { Address } from "./transport.js";
import type * as wire from "./wire.js";

/** The name under which this library greets. */
const PROGRAM = { name: "@abide/client", version: "0.1.0" };

/** How to connect. */
export interface ConnectOptions {
  /** The daemon's socket; absent: this user's own daemon. */
  readonly path?: string;
  /** 1 to 64 of `[A-Za-z0-9._-]`, one for each running program; absent: drawn at random. */
  readonly clientId?: string;
  /**
   * Starts a daemon where none answers: `true` with the `abide` of the PATH, a string with that program, or a function
   * of your own that returns when it serves. Absent: this client never starts one.
   */
  readonly startDaemon?: boolean | string | (() => Promise<void>);
  /** Closes the client when it is aborted; a `connect` that is under way rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** Where a client stands. */
export type ClientState =
  /** It is connected, for the first time or again. */
  | { state: "connected"; hello: wire.HelloOk }
  /** The connection is lost; the client is working on it. */
  | { state: "away" }
  /** It is over: every call that follows fails with this error. */
  | { state: "ended"; error: AbideError };

/** The events of a client, with their arguments. */
export interface ClientEvents {
  /** The connection came, went, or is over. */
  state: [ClientState];
  /** The level of one of the daemon's queues has changed, of a session that this client owns or of one of its own. */
  backpressure: [wire.BackpressureWarning];
}

type Without<Type extends wire.RequestType, Fields extends string> = Omit<wire.Requests[Type]["request"], Fields>;

interface Waiter {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: AbideError) => void;
}

/** Connects to the daemon. Rejects with `DAEMON_UNREACHABLE` if nobody answers, at the latest after 5 s. */
export function connect(options: ConnectOptions = {}): Promise<Client> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const client = new Client(options);
    const abort = (): void => {
      reject(signal?.reason as Error);
      void client.close();
    };
    signal?.addEventListener("abort", abort);
    client.once("state", (first) => {
      if (first.state === "connected") {
        resolve(client);
      } else if (first.state === "ended") {
        reject(first.error);
      }
    });
    client.on("state", ({ state }) => {
      if (state === "ended") {
        signal?.removeEventListener("abort", abort);
      }
    });
  });
}

/**
 * A client of the daemon. It reconnects by itself; requests whose answer was lost are repeated where that is safe, and
 * reject with `OUTCOME_UNKNOWN` where it is not. Requests take, and answers bring, the fields of the protocol by their
 * names there (`docs/terminals.md`); every rejection is an `AbideError`.
 *
 * An open client keeps its process alive: `close` it.
 */
export class Client extends EventEmitter<ClientEvents> {
  readonly #address: Address;
  readonly #identity: Omit<Identity, "seed">;
  readonly #link: ControlLink;
  readonly #transport: Transport<ControlTold>;
  readonly #waiting = new Map<number, Waiter>();
  readonly #streams = new Set<Stream>();
  readonly #subscriptions = new Set<Events>();
  #hello: wire.HelloOk | undefined;
  #isAway = true;

  /** Made by `connect`. */
  constructor(options: ConnectOptions) {
    super();
    const start = starter(options.startDaemon);
    this.#address = { path: options.path ?? defaultPath(), ...(start === undefined ? {} : { start }) };
    const clientId = options.clientId ?? `node-${randomBytes(8).toString("hex")}`;
    this.#identity = { clientId, program: PROGRAM, mayStart: start !== undefined };
    this.#link = new ControlLink(seeded(this.#identity), now());
    this.#transport = new Transport(this.#address, this.#link, (output) => this.#handle(output));
  }

  /** The id under which this client owns sessions. */
  get clientId(): string {
    return this.#identity.clientId;
  }

  /** What the daemon said when it was last connected to. */
  get daemon(): wire.HelloOk | undefined {
    return this.#hello;
  }

  /** Starts a program in a new session. It gets a `key` of its own where none is given, and so is never started twice. */
  create(request: wire.Create): Promise<wire.Created> {
    return this.#call({ type: "create", request });
  }

  /** Tells of all sessions, ended ones too, by id; `next` of the answer is `after` of the next page. */
  list(request: wire.List = {}): Promise<wire.Listed> {
    return this.#call({ type: "list", request });
  }

  /** Tells of one session, by id or name, and who sees it. */
  inspect(session: string, options: Without<"inspect", "session"> = {}): Promise<wire.Inspected> {
    return this.#call({ type: "inspect", request: { session, ...options } });
  }

  /** Ends a session's program and every process of it. Only its owner may. */
  kill(session: string, options: Without<"kill", "session"> = {}): Promise<wire.Killed> {
    return this.#call({ type: "kill", request: { session, ...options } });
  }

  /** Sends a signal, such as `SIGINT`. Only the owner may. */
  async signal(session: string, signal: string, options: Without<"signal", "session" | "signal"> = {}): Promise<void> {
    await this.#call({ type: "signal", request: { session, signal, ...options } });
  }

  /** Changes the size of a session's terminal. Only the owner may. */
  resize(
    session: string,
    cols: number,
    rows: number,
    options: Without<"resize", "session" | "cols" | "rows"> = {},
  ): Promise<wire.SizeNow> {
    return this.#call({ type: "resize", request: { session, cols, rows, ...options } });
  }

  /** Makes this client the owner of a session; one of its streams of it becomes the owner's. */
  takeover(session: string, options: Without<"takeover", "session"> = {}): Promise<wire.TakenOver> {
    return this.#call({ type: "takeover", request: { session, ...options } });
  }

  /** Gives ownership up, or hands it on to a client that is attached. */
  release(session: string, options: Without<"release", "session"> = {}): Promise<wire.Released> {
    return this.#call({ type: "release", request: { session, ...options } });
  }

  /** Gives a session another name. */
  rename(session: string, name: string): Promise<wire.Renamed> {
    return this.#call({ type: "rename", request: { session, name } });
  }

  /** Removes an ended session and what it printed. */
  async remove(session: string): Promise<void> {
    await this.#call({ type: "remove", request: { session } });
  }

  /**
   * Types without a stream, at most 64 KiB. Without `input_offset` it goes behind all that was accepted, and cannot be
   * repeated: it may reject with `OUTCOME_UNKNOWN`. `Stream.write` has neither limit.
   */
  write(
    session: string,
    data: Uint8Array | string,
    options: Without<"write", "session" | "data_base64"> = {},
  ): Promise<wire.Written> {
    const data_base64 = Buffer.from(data as Uint8Array).toString("base64");
    return this.#call({ type: "write", request: { session, data_base64, ...options } });
  }

  /** Reads the text of a session's screen; with `what: "all"` its history too. */
  text(session: string, options: Partial<Without<"text", "session">> = {}): Promise<wire.ScreenText> {
    return this.#call({ type: "text", request: { session, what: "screen", ...options } });
  }

  /**
   * Waits until the program has ended, prints nothing for a time, or prints a line that matches an expression;
   * `met: false` when `timeout_ms` are over.
   */
  async wait(session: string, condition: Without<"wait", "session">): Promise<wire.Waited> {
    const request = { session, ...condition };
    if (request.for === "match" && request.from === undefined) {
      // "From now on" is a place, so that a repetition after a lost connection begins there too.
      request.from = (await this.inspect(session)).session.end_offset;
    }
    return this.#call({ type: "wait", request });
  }

  /**
   * Follows the transitions of sessions, from now on or behind an event number, over as many connections as it takes. It
   * has a connection and a client id of its own. Resolves when the daemon has said where it begins.
   */
  subscribe(options: wire.Subscribe = {}): Promise<Events> {
    return new Promise((resolve, reject) => {
      const identity = seeded({ ...this.#identity, clientId: `node-${randomBytes(8).toString("hex")}` });
      const ended = (): void => void this.#subscriptions.delete(events);
      const started = (error?: AbideError): void => (error === undefined ? resolve(events) : reject(error));
      const events = new Events({ address: this.#address, identity, started, ended }, options);
      this.#subscriptions.add(events);
    });
  }

  /** Starts a program in the place of one that was lost. */
  recover(session: string, options: Without<"recover", "session"> = {}): Promise<wire.Recovered> {
    return this.#call({ type: "recover", request: { session, ...options } });
  }

  /** Tells what the last start of the daemon found. */
  recoveryReport(): Promise<wire.RecoveryReport> {
    return this.#call({ type: "recovery_report", request: {} });
  }

  /** Tells the daemon's metrics and queues. */
  stats(): Promise<wire.Stats> {
    return this.#call({ type: "stats", request: {} });
  }

  /**
   * Stops the daemon (`keep`: programs live on; `terminate`: each is killed first), or replaces it. It is never repeated,
   * since it would meet the next daemon: it may reject with `OUTCOME_UNKNOWN`.
   */
  async shutdown(mode: wire.ShutdownMode, options: Without<"shutdown", "mode"> = {}): Promise<void> {
    await this.#call({ type: "shutdown", request: { mode, ...options } });
  }

  /** Attaches to a session, by id or name. Resolves when the stream stands. */
  attach(session: string, options: AttachOptions = {}): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const host = {
        address: this.#address,
        identity: seeded(this.#identity),
        streamEnded: (ended: Stream): void => void this.#streams.delete(ended),
        backpressure: (warning: wire.BackpressureWarning): void => void this.emit("backpressure", warning),
      };
      const stream = new Stream(host, attachOf(session, options), (outcome) => {
        if (outcome instanceof AbideError) {
          reject(outcome);
        } else {
          resolve(stream);
        }
      });
      this.#streams.add(stream);
    });
  }

  /** Detaches from everything and ends the client. Its sessions live on; what it owns is free after the owner's grace. */
  async close(): Promise<void> {
    await Promise.all([...this.#streams].map((stream) => stream.detach()));
    for (const events of this.#subscriptions) {
      events.close();
    }
    this.#transport.run(this.#link.close());
  }

  #call<Type extends wire.RequestType>(call: Call & { type: Type }): Promise<wire.Requests[Type]["answer"]> {
    return new Promise((resolve, reject) => {
      const { number, out } = this.#link.call(now(), call);
      // What an `ok` brings is the answer of its request: the version that was agreed on says so.
      this.#waiting.set(number, { resolve: resolve as Waiter["resolve"], reject });
      this.#transport.run(out);
    });
  }

  #handle(output: ControlTold): void {
    switch (output.kind) {
      case "opened":
        this.#hello = output.hello;
        this.#isAway = false;
        this.emit("state", { state: "connected", hello: output.hello });
        break;
      case "away":
        if (!this.#isAway) {
          this.#isAway = true;
          this.emit("state", { state: "away" });
        }
        break;
      case "completed":
        this.#settle(output.call)?.resolve(output.result);
        break;
      case "failed":
        this.#settle(output.call)?.reject(output.error);
        break;
      case "backpressure":
        this.emit("backpressure", output.warning);
        break;
      case "ended":
        this.emit("state", { state: "ended", error: output.error });
        break;
      case "event":
      // Nothing is subscribed to on this connection.
    }
  }

  #settle(call: number): Waiter | undefined {
    const waiter = this.#waiting.get(call);
    this.#waiting.delete(call);
    return waiter;
  }
}

function seeded(identity: Omit<Identity, "seed">): Identity {
  return { ...identity, seed: randomBytes(16).toString("hex") };
}

function starter(option: ConnectOptions["startDaemon"]): (() => Promise<void>) | undefined {
  if (option === undefined || option === false) {
    return undefined;
  }
  if (typeof option === "function") {
    return option;
  }
  return () => startDaemon(option === true ? "abide" : option);
}
