import { Connection, isRestart } from "./connection.js";
import type { Change, Identity } from "./connection.js";
import { AbideError } from "./error.js";
import type { LagCause, StreamEvent } from "./event.js";
import { messageFrame } from "./frame.js";
import type { Frame } from "./frame.js";
import type { Link, LinkEnd, LinkInput, SocketOutput } from "./link.js";
import { readStream } from "./message.js";
import { Told } from "./told.js";
import { Typing } from "./typing.js";
import type { TypingTold } from "./typing.js";
import type {
  Attach,
  Attached,
  BackpressureWarning,
  Detached,
  ErrorMessage,
  Lagged,
  Mode,
  StartAt,
  StreamMessage,
  StreamRequest,
  WindowSize,
} from "./wire.js";

/** Pause before something refused is repeated whose cause passes by itself. */
const RETRY_MS = 100;
/** Refused attaches in a row after which a daemon is taken to be wrong rather than ahead of us. */
const REFUSALS_MAX = 32;

/** What a stream link tells beside what is to be done about its socket. */
export type StreamTold =
  | LinkEnd
  /** The stream stands, for the first time or again. */
  | { kind: "attached"; attached: Attached }
  /** Something for the caller. A `detached` is the last one, and the link is over. */
  | { kind: "yield"; event: StreamEvent }
  | TypingTold
  /** A queue grows, or has shrunk. */
  | { kind: "backpressure"; warning: BackpressureWarning };

type StreamOutput = SocketOutput | StreamTold;

/** What the link does next on its open connection. */
type Phase =
  /** Attach when this time has come. */
  | { kind: "due"; at: number }
  /** The attach is under way. */
  | { kind: "asked" }
  /** The stream stands. */
  | { kind: "standing" };

/** A snapshot of which some bytes have not come yet. */
interface Picture {
  readonly offset: number;
  readonly cols: number;
  readonly rows: number;
  readonly ownerEpoch: number;
  readonly incarnation: number;
  readonly parts: Uint8Array[];
  left: number;
}

/** The stream left the place where it stood. */
interface Gone {
  readonly from: number;
  readonly cause: LagCause;
  readonly resumeOffset?: number;
}

/**
 * A stream that comes back: output without gap or repetition, input exactly once, over any number of connections. What
 * is missing is named.
 */
export class StreamLink implements Link<StreamTold> {
  readonly #connection: Connection;
  readonly #attach: Attach;
  readonly #told = new Told();
  readonly #typing = new Typing((told) => this.#out.push(told));
  #out: StreamOutput[] = [];
  #phase: Phase;
  /** Where output goes on; undefined until it is known, and while a snapshot is wanted. */
  #next: number | undefined;
  #logEpoch: number | undefined;
  #picture: Picture | undefined;
  /** A skip that is told once it is known where the stream goes on. */
  #gone: Gone | undefined;
  #incarnation = 0;
  /** The newest owner epoch that is known: a stream that reads history is told of older ones. */
  #ownerEpoch = 0;
  #owner: string | undefined;
  #windowBytes = 0;
  #wasAttached = false;
  #refusals = 0;
  #leaving = false;
  #requests = 0;

  /** A link that dials at once and attaches as `attach` says. */
  constructor(identity: Identity, attach: Attach, now: number) {
    this.#connection = new Connection(identity, "stream", now);
    this.#attach = { ...attach };
    this.#phase = { kind: "due", at: now };
  }

  /** What the stream may do, as far as is known. */
  get mode(): Mode {
    return this.#attach.mode;
  }

  /** Who owns the session, as far as is known. */
  get owner(): string | undefined {
    return this.#owner;
  }

  /** The number of that ownership. */
  get ownerEpoch(): number {
    return this.#ownerEpoch;
  }

  /** The log's epoch, for a resume. */
  get logEpoch(): number | undefined {
    return this.#logEpoch;
  }

  /** Everything below it, in the present epoch, reached the program's terminal. */
  get inputApplied(): number {
    return this.#typing.applied;
  }

  /** Whether input can be accepted, now or when there is room. */
  get types(): boolean {
    return this.#typing.isOwner && !this.#leaving && !this.#connection.isEnded;
  }

  pollTimeout(): number | undefined {
    const times = [this.#connection.pollTimeout()];
    if (this.#connection.isOpen) {
      times.push(this.#phase.kind === "due" ? this.#phase.at : undefined);
      times.push(this.#phase.kind === "standing" ? this.#typing.pollTimeout() : undefined);
    }
    const due = times.filter((time) => time !== undefined);
    return due.length > 0 ? Math.min(...due) : undefined;
  }

  handle(now: number, input: LinkInput): StreamOutput[] {
    if (!this.#connection.isEnded) {
      this.#take(now, input);
    }
    return this.#flush();
  }

  /** Accepts as much input as there is room for: where it ends, and how many bytes were taken. */
  accept(bytes: Uint8Array): { taken: number; end: number; out: StreamOutput[] } {
    const accepted = this.types ? this.#typing.accept(bytes) : { taken: 0, end: 0 };
    this.#sendInput();
    return { ...accepted, out: this.#flush() };
  }

  /** The window has this size now. An observer's is remembered until it owns the session. */
  resize(size: WindowSize): StreamOutput[] {
    Object.assign(this.#attach, size);
    if (this.#phase.kind === "standing" && this.mode === "owner") {
      this.#send({ type: "resize", ...size });
    }
    return this.#flush();
  }

  /** Output below this was processed: for streams with `window_bytes`. */
  ack(offset: number): StreamOutput[] {
    if (this.#phase.kind === "standing") {
      this.#send({ type: "ack", offset });
    }
    return this.#flush();
  }

  /** The caller wants to leave. */
  detach(): StreamOutput[] {
    if (!this.#leaving && !this.#connection.isEnded) {
      this.#leaving = true;
      if (this.#phase.kind === "standing") {
        this.#send({ type: "detach" });
      } else {
        this.#finish({ type: "detached", code: "DETACHED", ...this.#place() });
      }
    }
    return this.#flush();
  }

  #flush(): StreamOutput[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #take(now: number, input: LinkInput): void {
    switch (input.kind) {
      case "connected":
        this.#out.push({ kind: "send", bytes: this.#connection.connected(now) });
        break;
      case "unreachable":
        this.#apply(now, this.#connection.unreachable(now));
        break;
      case "frame":
        this.#frame(now, input.frame);
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
    this.#attachIfDue(now);
    if (this.#phase.kind === "standing" && this.#typing.timeout(now)) {
      this.#sendInput();
    }
  }

  #attachIfDue(now: number): void {
    if (this.#phase.kind === "due" && this.#phase.at <= now && this.#connection.isOpen) {
      this.#phase = { kind: "asked" };
      this.#requests += 1;
      // The epoch whose input this stream goes on with: without it another one would begin.
      const ownerEpoch = this.#typing.ownerEpoch;
      const goesOn = ownerEpoch === undefined ? {} : { owner_epoch: ownerEpoch };
      this.#send({ type: "attach", id: String(this.#requests), ...this.#attach, ...goesOn, from: this.#begin() });
    }
  }

  /** Where the next attach begins: where output goes on, once that is known. */
  #begin(): StartAt {
    if (this.#next === undefined) {
      return this.#attach.from ?? "snapshot";
    }
    return { offset: this.#next, ...(this.#logEpoch === undefined ? {} : { epoch: this.#logEpoch }) };
  }

  #frame(now: number, frame: Frame): void {
    switch (frame.kind) {
      case "message": {
        const message = readStream(frame.text);
        if (message === undefined) {
          this.#broken(now);
        } else {
          this.#message(now, message);
        }
        break;
      }
      case "output":
        this.#output(now, frame.offset, frame.bytes);
        break;
      case "snapshot":
        this.#snapshotPart(now, frame.bytes);
        break;
      case "input":
        this.#broken(now);
    }
  }

  #output(now: number, offset: number, bytes: Uint8Array): void {
    const next = this.#next;
    if (this.#phase.kind !== "standing" || this.#picture !== undefined || next === undefined || offset > next) {
      this.#broken(now);
      return;
    }
    // What was seen is cut off: a daemon that repeats costs nothing but its bytes.
    const fresh = bytes.subarray(next - offset);
    if (fresh.length > 0) {
      this.#next = next + fresh.length;
      this.#yield({ type: "chunk", offset: next, bytes: fresh });
      if (this.#typing.asks()) {
        this.#send({ type: "input_state" });
      }
    }
  }

  #snapshotPart(now: number, bytes: Uint8Array): void {
    const picture = this.#picture;
    if (picture === undefined || bytes.length > picture.left) {
      this.#broken(now);
      return;
    }
    picture.parts.push(bytes);
    picture.left -= bytes.length;
    if (picture.left === 0) {
      this.#picture = undefined;
      this.#drawn(picture);
    }
  }

  /** The picture is whole: output goes on where it was made. */
  #drawn(picture: Picture): void {
    const { offset, cols, rows } = picture;
    this.#next = offset;
    this.#told.drawn(picture, picture.ownerEpoch, picture.incarnation);
    this.#goneTo(offset, true);
    this.#yield({ type: "snapshot", offset, bytes: Buffer.concat(picture.parts), cols, rows });
  }

  #goneTo(to: number, snapshot: boolean): void {
    if (this.#gone !== undefined) {
      this.#yield({ type: "lagged", ...this.#gone, to, snapshot });
      this.#gone = undefined;
    }
  }

  #message(now: number, message: StreamMessage): void {
    switch (message.type) {
      case "hello_ok":
        this.#phase = { kind: "due", at: now };
        this.#apply(now, this.#connection.greeted(message));
        break;
      case "error":
        this.#refused(now, message);
        break;
      case "attached":
        this.#attached(message);
        break;
      case "ownership_changed":
        this.#ownFrom(now, message.owner_epoch, message.owner, message.mode);
        // What is past changes nothing of what this stream may do now.
        this.#yield({ ...message, mode: this.mode });
        break;
      case "input_applied":
        this.#typing.told(message);
        this.#sendInput();
        break;
      case "lagged":
        this.#lagged(now, message);
        break;
      case "restored":
        this.#incarnation = Math.max(this.#incarnation, message.incarnation);
        this.#yield(message);
        break;
      case "hole":
        if (this.#next === message.offset) {
          this.#next += message.lost_bytes ?? 0;
        }
        this.#yield(message);
        break;
      case "resized":
      case "time":
      case "exited":
        this.#yield(message);
        break;
      case "backpressure_warning":
        this.#out.push({ kind: "backpressure", warning: message });
        break;
      case "detached":
        this.#detached(now, message);
    }
  }

  #yield(event: StreamEvent): void {
    if (this.#told.isNews(event)) {
      this.#out.push({ kind: "yield", event });
    }
  }

  #attached(attached: Attached): void {
    this.#phase = { kind: "standing" };
    this.#refusals = 0;
    this.#wasAttached = true;
    this.#attach.session = attached.session;
    this.#attach.mode = attached.mode;
    this.#logEpoch = attached.epoch;
    this.#incarnation = attached.incarnation;
    this.#ownerEpoch = attached.owner_epoch;
    this.#owner = attached.owner;
    this.#windowBytes = attached.input_window;
    this.#typing.attached(attached);
    this.#out.push({ kind: "attached", attached });
    // Half a picture of the connection before is none.
    this.#picture = undefined;
    if (attached.snapshot_bytes > 0) {
      this.#next = undefined;
      this.#expect(attached.offset, attached);
    } else {
      this.#next = attached.offset;
      this.#goneTo(attached.offset, false);
    }
    this.#sendInput();
    this.#out.push({ kind: "room" });
  }

  #expect(offset: number, of: Attached | Lagged): void {
    const { cols, rows, owner_epoch: ownerEpoch, incarnation, snapshot_bytes: left } = of;
    this.#picture = { offset, cols, rows, ownerEpoch, incarnation, parts: [], left };
    // If the connection is lost before the picture is whole, another one is asked for.
    this.#next = undefined;
    this.#attach.from = "snapshot";
  }

  /** A part of the output is skipped, with the marks in it: what they told stands in the message. */
  #lagged(now: number, lagged: Lagged): void {
    if (this.#phase.kind !== "standing" || this.#picture !== undefined || this.#next !== lagged.from) {
      this.#broken(now);
      return;
    }
    this.#gone = { from: lagged.from, cause: "slow" };
    this.#incarnation = Math.max(this.#incarnation, lagged.incarnation);
    this.#ownFrom(now, lagged.owner_epoch, lagged.owner, lagged.mode);
    if (lagged.snapshot_bytes > 0) {
      this.#expect(lagged.to, lagged);
    } else {
      this.#next = lagged.to;
      this.#goneTo(lagged.to, false);
    }
  }

  /** From now on an epoch of ownership counts, if it is newer than the one that did. */
  #ownFrom(now: number, epoch: number, owner: string | undefined, mode: Mode): void {
    if (epoch > this.#ownerEpoch) {
      this.#ownerEpoch = epoch;
      this.#owner = owner;
      this.#attach.mode = mode;
      this.#typing.begin(now, epoch, this.#incarnation, mode === "owner", this.#windowBytes);
    }
  }

  #sendInput(): void {
    const bytes = this.#phase.kind === "standing" ? this.#typing.take() : undefined;
    if (bytes !== undefined) {
      this.#out.push({ kind: "send", bytes });
    }
  }

  #refused(now: number, message: ErrorMessage): void {
    if (!this.#connection.isOpen) {
      this.#apply(now, this.#connection.refused(now, message));
    } else if (this.#phase.kind === "asked" && message.id !== undefined) {
      this.#attachRefused(now, AbideError.of(message));
    } else {
      const error = AbideError.of(message);
      const offset = error.number("input_offset");
      if (offset === undefined) {
        this.#yield({ type: "refused", error });
      } else if (this.#typing.refused(now, offset, error)) {
        this.#sendInput();
      }
    }
  }

  #attachRefused(now: number, error: AbideError): void {
    this.#refusals += 1;
    if (this.#refusals > REFUSALS_MAX) {
      this.#end(error);
      return;
    }
    switch (error.code) {
      case "OFFSET_TRIMMED":
        this.#goOn(now, error, "trimmed", error.number("base_offset") ?? 0, this.#logEpoch);
        break;
      case "OFFSET_AHEAD":
        this.#goOn(now, error, "taken_back", error.number("resume_offset") ?? 0, error.number("epoch"));
        break;
      case "DAEMON_STOPPING":
        this.#connection.stopTold(isRestart(error));
        this.#broken(now);
        break;
      case "SESSION_STARTING":
      case "HOLDER_UNRESPONSIVE":
        this.#attachLater(now);
        break;
      default:
        if (this.#wasAttached && error.code === "SESSION_OWNED") {
          // While it was away another client took the session: it goes on as an observer.
          this.#attach.mode = "observer";
          this.#attachAt(now, now);
        } else if (this.#wasAttached && error.retry === "retry") {
          this.#attachLater(now);
        } else {
          this.#end(error);
        }
    }
  }

  /** The place where the stream stood does not exist: go on elsewhere, or with a picture of the screen. */
  #goOn(now: number, error: AbideError, cause: LagCause, offset: number, epoch: number | undefined): void {
    if (this.#attach.on_lag === "disconnect") {
      this.#end(error);
      return;
    }
    this.#logEpoch = epoch;
    this.#leave(cause, offset);
    this.#attachAt(now, now);
  }

  /** The stream goes on at `offset`, or, if it belongs to a terminal, with a picture. */
  #leave(cause: LagCause, offset: number): void {
    const wanted = this.#attach.from;
    const stood = this.#next ?? (typeof wanted === "object" ? wanted.offset : offset);
    const before = this.#gone;
    const from = before?.from ?? stood;
    if (cause === "taken_back") {
      this.#gone = { from, cause, resumeOffset: Math.min(offset, before?.resumeOffset ?? offset) };
    } else if (before?.cause !== "taken_back") {
      this.#gone = { from, cause };
    }
    this.#attach.from = this.#attach.on_lag === "follow" ? { offset } : "snapshot";
    this.#next = this.#attach.on_lag === "follow" ? offset : undefined;
  }

  #attachAt(now: number, at: number): void {
    this.#phase = { kind: "due", at };
    this.#attachIfDue(now);
  }

  #attachLater(now: number): void {
    this.#attachAt(now, this.#connection.pause(now, RETRY_MS));
  }

  #detached(now: number, detached: Detached): void {
    switch (detached.code) {
      case "DAEMON_STOPPING":
        this.#connection.stopTold(detached.restart === true);
        break;
      case "JOURNAL_CORRUPT": {
        const from = detached.resume_offset ?? this.#next;
        const to = detached.lost_to;
        if (from === undefined || to === undefined || this.#attach.on_lag === "disconnect") {
          this.#finish(detached);
          return;
        }
        this.#yield({ type: "hole", offset: from, code: "JOURNAL_CORRUPT", lost_bytes: Math.max(0, to - from) });
        this.#next = to;
        if (this.#attach.on_lag !== "follow") {
          this.#leave("unreadable", to);
        }
        break;
      }
      case "OFFSET_TRIMMED":
        if (this.#attach.on_lag === "disconnect") {
          this.#finish(detached);
          return;
        }
        this.#leave("trimmed", detached.resume_offset ?? 0);
        break;
      case "SLOW_SUBSCRIBER":
        if (this.#attach.on_lag === "disconnect") {
          this.#finish(detached);
          return;
        }
        break;
      default:
        this.#finish(detached);
        return;
    }
    this.#broken(now);
  }

  #place(): { resume_offset?: number; epoch?: number } {
    return {
      ...(this.#next === undefined ? {} : { resume_offset: this.#next }),
      ...(this.#logEpoch === undefined ? {} : { epoch: this.#logEpoch }),
    };
  }

  /** As the caller or the session wanted. */
  #finish(detached: Detached): void {
    this.#out.push({ kind: "close" }, { kind: "yield", event: detached });
    this.#over(new AbideError(detached.code, "the stream has ended"), true);
  }

  /** A refusal that waiting does not mend. */
  #end(error: AbideError): void {
    this.#out.push({ kind: "close" });
    this.#over(error, false);
  }

  #over(error: AbideError, told: boolean): void {
    this.#connection.end(error);
    this.#out.push({ kind: "ended", error, told });
  }

  #broken(now: number): void {
    this.#apply(now, this.#connection.lost(now));
  }

  #apply(now: number, change: Change): void {
    switch (change.kind) {
      case "none":
        break;
      case "opened":
        this.#attachIfDue(now);
        break;
      case "lost":
        if (this.#leaving) {
          this.#finish({ type: "detached", code: "DETACHED", ...this.#place() });
          break;
        }
        this.#out.push({ kind: "close" });
        this.#phase = { kind: "due", at: now };
        break;
      case "ended":
        if (change.error.code === "DAEMON_STOPPING") {
          this.#finish({ type: "detached", code: "DAEMON_STOPPING", ...this.#place() });
        } else {
          this.#end(change.error);
        }
    }
  }

  #send(request: StreamRequest): void {
    this.#out.push({ kind: "send", bytes: messageFrame(request) });
  }
}
