import { AbideError } from "./error.js";
import { PROTOCOL, VERSION, messageFrame } from "./frame.js";
import { Random } from "./random.js";
import type { ClientInfo, ErrorMessage, Hello, HelloOk, Role } from "./wire.js";

/** First pause before dialling again; doubles to `BACKOFF_MS_MAX`. */
const BACKOFF_MS_MIN = 20;
/** Longest pause before dialling again. */
const BACKOFF_MS_MAX = 1_000;
/** How long a daemon that was never reached, but may be started, is waited for. */
const FIRST_WAIT_MS = 5_000;
/** How long a lost daemon may take to come back by itself before another one is started. */
const START_AFTER_MS = 1_000;
/** Pause between two starts of a daemon. */
const START_AGAIN_MS = 5_000;
/** How long a greeting may be unanswered. */
const GREETING_MS = 5_000;

/** Who connects, and what it may do when nobody answers. */
export interface Identity {
  /** One id for each running program. */
  readonly clientId: string;
  /** The program's name and version, for the daemon's log. */
  readonly program?: ClientInfo;
  /** Drawn at random for each link: keys and jitter are made from it. */
  readonly seed: string;
  /** Whether a daemon is started where none answers. */
  readonly mayStart: boolean;
}

/** What a step of the connection means for the link around it. */
export type Change =
  | { kind: "none" }
  /** The greeting was answered. */
  | { kind: "opened"; hello: HelloOk }
  /** The shell closes the socket; the connection will come back. */
  | { kind: "lost" }
  /** It will never come back. The shell closes the socket if there is one. */
  | { kind: "ended"; error: AbideError };

type State =
  | { kind: "waiting"; until: number }
  | { kind: "dialing" }
  | { kind: "greeting"; until: number }
  | { kind: "open" }
  | { kind: "ended" };

/**
 * One connection that comes back, without its socket and its clock: when to dial, when to start a daemon, when to stop
 * trying. Times are milliseconds of the shell's monotonic clock, counted from any beginning.
 *
 * ```text
 *             due                connected           hello_ok
 *  waiting ───────► dialing ───────────► greeting ───────────► open
 *     ▲  back-off      │ unreachable        │ refused, silent    │ lost
 *     └────────────────┴────────────────────┴────────────────────┘      any ── give_up ──► ended
 * ```
 */
export class Connection {
  readonly #identity: Identity;
  readonly #role: Role;
  readonly #random: Random;
  #state: State;
  #backoffMs = BACKOFF_MS_MIN;
  /** Since when there is no daemon: the beginning, or the loss. */
  #awaySince: number;
  #wasOpen = false;
  /** Whether a dial has failed since the daemon was there. */
  #failed = false;
  #startedAt: number | undefined;
  /** The daemon's last word was that it stops, and whether another one follows. */
  #stopping: { restart: boolean } | undefined;

  constructor(identity: Identity, role: Role, now: number) {
    this.#identity = identity;
    this.#role = role;
    this.#random = new Random(Number.parseInt(identity.seed.slice(0, 8), 16));
    this.#state = { kind: "waiting", until: now };
    this.#awaySince = now;
  }

  get isOpen(): boolean {
    return this.#state.kind === "open";
  }

  get isEnded(): boolean {
    return this.#state.kind === "ended";
  }

  get seed(): string {
    return this.#identity.seed;
  }

  /** A point in time around `ms` from now, for retries. */
  pause(now: number, ms: number): number {
    return now + this.#random.around(ms);
  }

  /** When `due` or `isSilent` is to be asked. */
  pollTimeout(): number | undefined {
    return this.#state.kind === "waiting" || this.#state.kind === "greeting" ? this.#state.until : undefined;
  }

  /** A dial, if it is time to; whether a daemon is to be started first. */
  due(now: number): { startDaemon: boolean } | undefined {
    if (this.#state.kind !== "waiting" || this.#state.until > now) {
      return undefined;
    }
    this.#state = { kind: "dialing" };
    const startDaemon = this.#startsDaemon(now);
    if (startDaemon) {
      this.#startedAt = now;
    }
    return { startDaemon };
  }

  /** Whether the greeting has been unanswered for too long. */
  isSilent(now: number): boolean {
    return this.#state.kind === "greeting" && this.#state.until <= now;
  }

  #startsDaemon(now: number): boolean {
    const late = this.#wasOpen ? now - this.#awaySince >= START_AFTER_MS : this.#failed;
    // A daemon that was never reached is started once: if it does not serve then, somebody must look.
    const again = this.#startedAt === undefined || (this.#wasOpen && now - this.#startedAt >= START_AGAIN_MS);
    return this.#identity.mayStart && late && again;
  }

  /** The socket is there: the greeting to send. */
  connected(now: number): Buffer {
    this.#state = { kind: "greeting", until: now + GREETING_MS };
    const { clientId, program } = this.#identity;
    const hello: Hello = {
      type: "hello",
      id: "0",
      protocol: PROTOCOL,
      version: VERSION,
      client_id: clientId,
      role: this.#role,
      ...(program === undefined ? {} : { client: program }),
    };
    return messageFrame(hello);
  }

  /** Nobody accepts. */
  unreachable(now: number): Change {
    const first = !this.#failed;
    this.#failed = true;
    const patient = this.#wasOpen || (this.#identity.mayStart && now - this.#awaySince < FIRST_WAIT_MS);
    if (!patient) {
      return this.end(new AbideError("DAEMON_UNREACHABLE", "no daemon answers"));
    }
    // The first failure of all starts a daemon at once.
    this.#wait(now, !this.#wasOpen && first);
    return { kind: "none" };
  }

  /** The greeting was answered. */
  greeted(hello: HelloOk): Change {
    if (this.#state.kind !== "greeting") {
      return { kind: "none" };
    }
    this.#state = { kind: "open" };
    this.#backoffMs = BACKOFF_MS_MIN;
    this.#wasOpen = true;
    this.#failed = false;
    this.#startedAt = undefined;
    this.#stopping = undefined;
    return { kind: "opened", hello };
  }

  /** An error without a request: of the greeting, or before the connection is closed. */
  refused(now: number, message: ErrorMessage): Change {
    const error = AbideError.of(message);
    // Whoever was connected waits until the daemon has its journal again; a newcomer is told.
    const waits = error.code === "JOURNAL_FULL" || error.code === "JOURNAL_FAILED" ? this.#wasOpen : undefined;
    if (waits ?? (error.retry === "retry" || error.retry === "resume")) {
      if (error.code === "DAEMON_STOPPING") {
        this.stopTold(isRestart(error));
      }
      return this.lost(now);
    }
    return this.end(error);
  }

  /** The daemon said that it stops. */
  stopTold(restart: boolean): void {
    this.#stopping = { restart };
  }

  /** The connection is gone, or is given up as broken. */
  lost(now: number): Change {
    if (this.isEnded) {
      return { kind: "none" };
    }
    if (this.#stopping?.restart === false) {
      return this.end(new AbideError("DAEMON_STOPPING", "the daemon was stopped; the sessions live on"));
    }
    if (this.isOpen) {
      this.#awaySince = now;
    }
    this.#wait(now, false);
    return { kind: "lost" };
  }

  /** Nothing more comes of it. */
  end(error: AbideError): Change {
    this.#state = { kind: "ended" };
    return { kind: "ended", error };
  }

  #wait(now: number, atOnce: boolean): void {
    const pauseMs = atOnce ? 0 : this.#random.around(this.#backoffMs);
    if (!atOnce) {
      this.#backoffMs = Math.min(2 * this.#backoffMs, BACKOFF_MS_MAX);
    }
    this.#state = { kind: "waiting", until: now + pauseMs };
  }
}

/** Whether a `DAEMON_STOPPING` says that another daemon follows. */
export function isRestart(error: AbideError): boolean {
  return error.details["restart"] === true;
}
