/**
 * Client of Abide: durable terminal sessions from Node.js. `connect` brings a `Client`, whose `attach` brings a `Stream`;
 * `wire` has every type of the protocol.
 *
 * @module
 */

export { connect } from "./client.js";
export type { Client, ClientEvents, ClientState, ConnectOptions } from "./client.js";
export { AbideError, NotApplied } from "./error.js";
export type { Chunk, LagCause, Lagged, Refused, Snapshot, StreamEvent } from "./event.js";
export type { Events } from "./events.js";
export { queryFilter } from "./query-filter.js";
export type { QueryFilterOptions } from "./query-filter.js";
export { drawSeam } from "./seam.js";
export type { AttachOptions, Stream } from "./stream.js";
export { retryClass } from "./wire.js";
export type {
  Detached,
  ErrorCode,
  Exit,
  Exited,
  Happened,
  Hole,
  Mode,
  OwnershipChanged,
  Position,
  Resized,
  Restored,
  RetryClass,
  SessionRecord,
  State,
  Time,
} from "./wire.js";
export type * as wire from "./wire.js";
