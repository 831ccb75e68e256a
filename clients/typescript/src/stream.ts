import type { Identity } from "./connection.js";
import { AbideError } from "./error.js";
import type { StreamEvent } from "./event.js";
import { Queue } from "./queue.js";
import { StreamLink } from "./stream-link.js";
import type { StreamTold } from "./stream-link.js";
import { Transport, now } from "./transport.js";
import type { Address } from "./transport.js";
import type { Attach, Attached, BackpressureWarning, Mode, OnLag, Position, StartAt } from "./wire.js";
import { Writes } from "./writes.js";

/** Output that was read and not asked for; with more the socket is not read, and the daemon sees a slow client. */
const QUEUE_BYTES_MAX = 1024 * 1024;
/** The same while a write waits: the news that it was applied comes behind the output before it. */
const QUEUE_BYTES_MAX_WRITING = 16 * QUEUE_BYTES_MAX;
/** What an event counts for beside its bytes. */
const EVENT_BYTES = 256;
/** How to attach to a session. */
export interface AttachOptions {
  /** `owner`: see, type and resize; `observer` (default): see. */
  readonly mode?: Mode;
  /** Where output begins: with a picture of the screen (default), with what comes, or at a byte. */
  readonly from?: StartAt;
  /** The owner's columns, to 4,096; 0 or absent: unknown. An observer's count once it owns the session. */
  readonly cols?: number;
  /** The owner's rows, to 4,096; 0 or absent: unknown. */
  readonly rows?: number;
  /** What happens when this client reads too slowly: `resync` (default), `disconnect`, `follow`. */
  readonly onLag?: OnLag;
  /** How far it may fall behind, 65,536 bytes to 1 GiB; `follow` has no bound. Absent: as the daemon is configured. */
  readonly lagBytesMax?: number;
  /** Most output that is sent beyond what was acknowledged with `ack`, at least 65,536 bytes; absent: no bound. */
  readonly windowBytes?: number;
  /** History lines in a snapshot, at most 100,000; absent: as the daemon is configured. */
  readonly scrollbackLines?: number;
  /** Where the stream ends with `END_REACHED`; absent: nowhere. */
  readonly until?: number;
  /** Whether `time` events tell when each record was written. */
  readonly times?: boolean;
  /** Path of a socket that the session's `SSH_AUTH_SOCK` leads to from now on. */
  readonly agent?: string;
}

/** The attach of these options. */
export function attachOf(session: string, options: AttachOptions): Attach {
  const { mode = "observer", from = "snapshot", cols, rows, onLag = "resync", lagBytesMax, windowBytes } = options;
  const { scrollbackLines, until, times, agent } = options;
  return {
    session,
    mode,
    from,
    ...(cols === undefined ? {} : { cols }),
    ...(rows === undefined ? {} : { rows }),
    on_lag: onLag,
    ...(lagBytesMax === undefined ? {} : { lag_bytes_max: lagBytesMax }),
    ...(windowBytes === undefined ? {} : { window_bytes: windowBytes }),
    ...(scrollbackLines === undefined ? {} : { scrollback_lines: scrollbackLines }),
    ...(until === undefined ? {} : { until }),
    ...(times === undefined ? {} : { times }),
    ...(agent === undefined ? {} : { agent }),
  };
}

/** What a stream needs of its client. */
export interface StreamHost {
  readonly address: Address;
  readonly identity: Identity;
  /** The stream is over. */
  streamEnded(stream: Stream): void;
  /** A queue grows, or has shrunk. */
  backpressure(warning: BackpressureWarning): void;
}

/**
 * A stream of one session, over as many connections as it takes: iterate over it for what happens there, in order. It
 * ends with a `detached` event; a failure that waiting does not mend is thrown as an `AbideError`.
 *
 * An event counts as processed when the next one is asked for. A loop that is left (`break`, an error) detaches.
 */
export class Stream implements AsyncIterable<StreamEvent> {
  readonly #host: StreamHost;
  readonly #link: StreamLink;
  readonly #transport: Transport<StreamTold>;
  readonly #queue = new Queue<StreamEvent>();
  readonly #writes = new Writes();
  readonly #events: AsyncGenerator<StreamEvent, void>;
  /** Resolves when the stream is over, however it ended. */
  readonly #over: Promise<void>;
  #isOver: () => void = () => undefined;
  #started: ((outcome: Attached | AbideError) => void) | undefined;
  #session = "";
  #offset = 0;
  #isLeaving = false;

  /** Streams are made by `Client.attach`; `started` is told when this one stands for the first time, or does not. */
  constructor(host: StreamHost, attach: Attach, started: (outcome: Attached | AbideError) => void) {
    this.#host = host;
    this.#started = started;
    this.#over = new Promise((resolve) => {
      this.#isOver = resolve;
    });
    this.#events = this.#iterate();
    this.#link = new StreamLink(host.identity, attach, now());
    this.#transport = new Transport(host.address, this.#link, (output) => this.#handle(output));
  }

  /** The session's id. */
  get session(): string {
    return this.#session;
  }

  /** Offset of the first byte that was not processed. */
  get offset(): number {
    return this.#offset;
  }

  /** Where another stream goes on, of this program or of another one: `from` of an attach. */
  get position(): Position {
    const epoch = this.#link.logEpoch;
    return { offset: this.#offset, ...(epoch === undefined ? {} : { epoch }) };
  }

  /** What this stream may do, as far as is known. */
  get mode(): Mode {
    return this.#link.mode;
  }

  /** The client that owns the session, as far as is known; undefined: nobody. */
  get owner(): string | undefined {
    return this.#link.owner;
  }

  /** How much input of the present ownership has reached the program's terminal. */
  get inputApplied(): number {
    return this.#link.inputApplied;
  }

  /** The events, each once; all iterators of a stream are the same one. */
  [Symbol.asyncIterator](): AsyncIterator<StreamEvent, void> {
    return this.#events;
  }

  /**
   * Types. It resolves when all of it has reached the program's terminal, once and in order, over lost connections and
   * dead daemons.
   *
   * The news comes in order with the output. A loop over this stream that waits for a write does not read meanwhile: once
   * the program has printed 16 MiB since, the write would never resolve. Go on reading while you wait for it.
   *
   * Rejects with `NotApplied` if the client ceased to own the session before; `OUTCOME_UNKNOWN` if nobody can tell what
   * became of it; `ROLE_FORBIDDEN` if this stream does not own the session; `SESSION_TERMINATING` or `SESSION_EXITED`
   * (`details.from` as of `NotApplied`); `INPUT_QUEUE_FULL` while 16 MiB wait for the program.
   */
  write(data: Uint8Array | string): Promise<void> {
    const bytes = Buffer.from(data as Uint8Array);
    return new Promise((resolve, reject) => {
      if (!this.#link.types) {
        const details = { owner: this.owner, owner_epoch: this.#link.ownerEpoch };
        reject(new AbideError("ROLE_FORBIDDEN", "this stream does not own the session", details));
      } else if (bytes.length === 0) {
        resolve();
      } else {
        const settle = (error?: AbideError): void => (error === undefined ? resolve() : reject(error));
        this.#writes.add(this.#link.ownerEpoch, bytes, (rest) => this.#accept(rest), settle);
        this.#flow();
      }
    });
  }

  /** Tells the size of the owner's window, in columns and rows. What an observer tells counts once it owns the session. */
  resize(cols: number, rows: number): void {
    this.#transport.run(this.#link.resize({ cols, rows }));
  }

  /** Tells that all output below `offset` was processed: a stream with `windowBytes` goes on. */
  ack(offset: number): void {
    this.#transport.run(this.#link.ack(offset));
  }

  /**
   * Ends the stream. The client keeps the session if it owns it. It resolves when the stream is over; writes that are
   * under way then reject with `OUTCOME_UNKNOWN`, so wait for them before.
   */
  detach(): Promise<void> {
    // Whoever leaves reads what is under way to its end.
    this.#isLeaving = true;
    this.#transport.paused = false;
    this.#transport.run(this.#link.detach());
    return this.#over;
  }

  async *#iterate(): AsyncGenerator<StreamEvent, void> {
    try {
      for (;;) {
        const event = await this.#queue.next();
        this.#flow();
        if (event === undefined) {
          return;
        }
        yield event;
        this.#offset = offsetAfter(event, this.#offset);
      }
    } finally {
      await this.detach();
    }
  }

  /** Reads from the socket while there is room for what comes. */
  #flow(): void {
    const { weight } = this.#queue;
    const max = this.#writes.isEmpty ? QUEUE_BYTES_MAX : QUEUE_BYTES_MAX_WRITING;
    if (weight >= max && !this.#isLeaving) {
      this.#transport.paused = true;
    } else if (weight <= max / 2) {
      this.#transport.paused = false;
    }
  }

  #accept(bytes: Uint8Array): { taken: number; end: number } {
    const { taken, end, out } = this.#link.accept(bytes);
    this.#transport.run(out);
    return { taken, end };
  }

  #handle(output: StreamTold): void {
    switch (output.kind) {
      case "attached":
        if (this.#started !== undefined) {
          this.#session = output.attached.session;
          this.#offset = output.attached.offset;
          this.#started(output.attached);
          this.#started = undefined;
        }
        break;
      case "yield":
        this.#queue.push(output.event, EVENT_BYTES + ("bytes" in output.event ? output.event.bytes.length : 0));
        this.#flow();
        break;
      case "applied":
        this.#writes.applied(output.ownerEpoch, output.offset);
        this.#flow();
        break;
      case "inputRefused":
        this.#writes.refused(output.ownerEpoch, output.offset, output.error);
        break;
      case "settled":
        this.#writes.settled(output.ownerEpoch, output.applied);
        this.#flow();
        break;
      case "room":
        this.#writes.feed(this.#link.ownerEpoch, (bytes) => this.#accept(bytes));
        break;
      case "backpressure":
        this.#host.backpressure(output.warning);
        break;
      case "ended":
        this.#end(output.error, output.told);
    }
  }

  #end(error: AbideError, told: boolean): void {
    this.#writes.end();
    this.#started?.(error);
    this.#started = undefined;
    // An end that the caller or the session wanted was told as `detached`.
    this.#queue.end(told ? undefined : error);
    this.#host.streamEnded(this);
    this.#isOver();
  }
}

/** Where a stream goes on after this event. */
function offsetAfter(event: StreamEvent, offset: number): number {
  switch (event.type) {
    case "chunk":
      return event.offset + event.bytes.length;
    case "snapshot":
      return event.offset;
    case "lagged":
      return event.to;
    case "hole":
      return event.offset + (event.lost_bytes ?? 0);
    default:
      return offset;
  }
}
