import type { StreamEvent } from "./event.js";

/**
 * What a stream has told its caller. A stream that comes back is sent the marks that stand exactly where it goes on once
 * more; each is told once.
 */
export class Told {
  #size: { cols: number; rows: number } | undefined;
  #ownerEpoch = 0;
  #incarnation = 0;
  #holeAt: number | undefined;
  #exited = false;

  /** Whether this event is news. It counts as told then. */
  isNews(event: StreamEvent): boolean {
    switch (event.type) {
      case "resized": {
        const same = this.#size?.cols === event.cols && this.#size.rows === event.rows;
        this.#size = { cols: event.cols, rows: event.rows };
        return !same;
      }
      case "ownership_changed": {
        const isNews = event.owner_epoch > this.#ownerEpoch;
        this.#ownerEpoch = Math.max(this.#ownerEpoch, event.owner_epoch);
        return isNews;
      }
      case "restored": {
        const isNews = event.incarnation > this.#incarnation;
        this.#incarnation = Math.max(this.#incarnation, event.incarnation);
        this.#exited &&= !isNews;
        return isNews;
      }
      case "exited": {
        const isNews = !this.#exited;
        this.#exited = true;
        return isNews;
      }
      case "hole": {
        // One that nobody can measure moves nothing, so it stands where the stream goes on.
        const isNews = event.lost_bytes !== undefined || this.#holeAt !== event.offset;
        this.#holeAt = event.offset;
        return isNews;
      }
      default:
        return true;
    }
  }

  /** A snapshot shows all this. */
  drawn(size: { cols: number; rows: number }, ownerEpoch: number, incarnation: number): void {
    this.#size = { cols: size.cols, rows: size.rows };
    this.#ownerEpoch = Math.max(this.#ownerEpoch, ownerEpoch);
    this.#incarnation = Math.max(this.#incarnation, incarnation);
  }
}
