import type { Identity } from "./connection.js";
import { ControlLink } from "./control-link.js";
import type { ControlTold } from "./control-link.js";
import { AbideError } from "./error.js";
import { Queue } from "./queue.js";
import { Transport, now } from "./transport.js";
import type { Address } from "./transport.js";
import type { Happened, Progress, Subscribe, Subscribed } from "./wire.js";

/** Events that were read and not asked for; with more the socket is not read. */
const QUEUE_EVENTS_MAX = 1_024;

/** What a subscription needs of its client. */
export interface EventsHost {
  readonly address: Address;
  readonly identity: Identity;
  /** The daemon has said where it begins, or refused. */
  started(error?: AbideError): void;
  /** The subscription is over. */
  ended(): void;
}

/**
 * The transitions of sessions, in order and each once, over as many connections as it takes: iterate over it. It ends
 * when it is closed; failures are thrown: `OFFSET_TRIMMED` if the next event is not kept any more, `OFFSET_AHEAD` if the
 * history that it belongs to is another one, and those of a connection.
 */
export class Events implements AsyncIterable<Happened> {
  readonly #host: EventsHost;
  readonly #link: ControlLink;
  readonly #transport: Transport<ControlTold>;
  readonly #queue = new Queue<Happened>();
  readonly #events: AsyncGenerator<Happened, void>;
  /** What is subscribed to next: behind what came already. */
  #wish: Subscribe;
  /** A subscription that is not answered yet: it is repeated by the link. */
  #isAsking = false;
  #isStarted = false;
  #number: number | undefined;
  #isClosed = false;

  /** Made by `Client.subscribe`. */
  constructor(host: EventsHost, wish: Subscribe) {
    this.#host = host;
    this.#wish = wish;
    this.#events = this.#iterate();
    this.#link = new ControlLink(host.identity, now());
    this.#transport = new Transport(host.address, this.#link, (output) => this.#handle(output));
  }

  /** The number of the last event that was processed, `from_event` of another subscription; undefined before any. */
  get number(): number | undefined {
    return this.#number;
  }

  /** The events, each once; all iterators of a subscription are the same one. */
  [Symbol.asyncIterator](): AsyncIterator<Happened, void> {
    return this.#events;
  }

  /** Ends the subscription. What came before is still told. */
  close(): void {
    this.#isClosed = true;
    this.#transport.run(this.#link.close());
  }

  async *#iterate(): AsyncGenerator<Happened, void> {
    try {
      for (;;) {
        const event = await this.#queue.next();
        this.#transport.paused = this.#queue.weight >= QUEUE_EVENTS_MAX;
        if (event === undefined) {
          return;
        }
        yield event;
        this.#number = event.event_number;
      }
    } finally {
      this.close();
    }
  }

  #handle(output: ControlTold): void {
    switch (output.kind) {
      case "opened":
        if (!this.#isAsking) {
          this.#isAsking = true;
          this.#transport.run(this.#link.call(now(), { type: "subscribe", request: this.#wish }).out);
        }
        break;
      case "completed":
        this.#isAsking = false;
        this.#subscribed(output.result as Subscribed);
        break;
      case "failed":
        this.#end(output.error);
        this.close();
        break;
      case "event":
        this.#told(output.event);
        break;
      case "ended":
        this.#end(output.error);
        break;
      case "away":
      case "backpressure":
      // The subscription comes back by itself, and what waits for it is in the log.
    }
  }

  #subscribed({ from }: Subscribed): void {
    this.#wish = { ...this.#wish, from_event: from };
    this.#number ??= from;
    this.#start();
  }

  #told(event: Happened | Progress): void {
    this.#wish = { ...this.#wish, from_event: event.event_number };
    if (event.event !== "progress") {
      this.#queue.push(event, 1);
      this.#transport.paused = this.#queue.weight >= QUEUE_EVENTS_MAX;
    }
  }

  #start(error?: AbideError): void {
    if (!this.#isStarted) {
      this.#isStarted = true;
      this.#host.started(error);
    }
  }

  #end(error: AbideError): void {
    this.#start(error);
    this.#queue.end(this.#isClosed ? undefined : error);
    this.#host.ended();
  }
}
