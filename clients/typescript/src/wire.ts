// The messages of protocol v1 as they are on the wire, and the registry of error codes. Types and tables alone: what
// is to be done with them stands in the other files. Times named `_at` are wall clock in milliseconds since 1970.

// ---------------------------------------------------------------------------------------------------------- errors

/** What the receiver of an error may do. */
export type RetryClass =
  /** Nothing happened: the same request, after a back-off. */
  | "retry"
  /** Attach or subscribe again, at the place that the error gives. */
  | "resume"
  /** Look what happened, then decide. */
  | "resolve"
  /** The request itself must change. */
  | "fix_request"
  /** Stop: a person, or another request, must change something first. */
  | "give_up";

/** Every code of the registry, and its class. `docs/errors.md` says of each when it comes and what to do. */
export const retryClass = {
  PROTO_BREAKING_CHANGE: "give_up",
  HELLO_REQUIRED: "fix_request",
  HELLO_REPEATED: "fix_request",
  PROTO_MALFORMED: "fix_request",
  FRAME_TOO_LARGE: "fix_request",
  BAD_REQUEST: "fix_request",
  UNKNOWN_REQUEST: "fix_request",
  CLIENT_REPLACED: "give_up",
  UID_FORBIDDEN: "give_up",
  ROLE_FORBIDDEN: "give_up",
  OWNER_CHANGED: "resume",
  SESSION_OWNED: "give_up",
  TAKEOVER_DENIED: "give_up",
  SESSION_NOT_FOUND: "give_up",
  SESSION_GONE: "give_up",
  SESSION_STARTING: "retry",
  SESSION_TERMINATING: "give_up",
  SESSION_EXITED: "give_up",
  SESSION_RUNNING: "give_up",
  NAME_TAKEN: "fix_request",
  OFFSET_TRIMMED: "resume",
  OFFSET_AHEAD: "resume",
  SLOW_SUBSCRIBER: "resume",
  REPLACED: "give_up",
  DETACHED: "give_up",
  END_REACHED: "give_up",
  INPUT_GAP: "resume",
  INPUT_QUEUE_FULL: "retry",
  INPUT_ON_STREAM: "fix_request",
  LIMIT_SESSIONS: "retry",
  LIMIT_OBSERVERS: "retry",
  LIMIT_CLIENTS: "retry",
  LIMIT_ENV: "fix_request",
  CWD_MISSING: "fix_request",
  CWD_NOT_DIRECTORY: "fix_request",
  SHELL_NOT_FOUND: "fix_request",
  COMMAND_NOT_FOUND: "fix_request",
  EXEC_FORMAT: "fix_request",
  PERMISSION_DENIED: "fix_request",
  SPAWN_FAILED: "give_up",
  RESOURCE_EXHAUSTED: "retry",
  HOLDER_UNRESPONSIVE: "retry",
  HOLDER_PROTO_UNSUPPORTED: "give_up",
  HOLDER_LOST: "give_up",
  HOST_REBOOTED: "give_up",
  JOURNAL_CORRUPT: "resume",
  JOURNAL_MISSING: "give_up",
  JOURNAL_FULL: "retry",
  JOURNAL_FAILED: "resolve",
  OUTCOME_UNKNOWN: "resolve",
  RESTORE_FAILED: "give_up",
  UPGRADE_FAILED: "give_up",
  STALE_DAEMON: "give_up",
  DAEMON_STOPPING: "resume",
  DAEMON_UNREACHABLE: "retry",
  INTERNAL: "give_up",
} as const satisfies Readonly<Record<string, RetryClass>>;

/** A code of the registry. */
export type ErrorCode = keyof typeof retryClass;

/** A failure: the answer to a request, or, without an id, to another message. */
export interface ErrorMessage {
  type: "error";
  /** The request that failed. */
  id?: string;
  /** Which failure. */
  code: ErrorCode;
  /** One sentence for people. */
  message: string;
  /** What the receiver may do. */
  retry: RetryClass;
  /** The facts that the code promises, by name. */
  details?: Record<string, unknown>;
}

// ------------------------------------------------------------------------------------------------------------ hello

/** What a connection is for: requests, or the bytes of one session. */
export type Role = "control" | "stream";

/** The program that greets, for logs. */
export interface ClientInfo {
  name: string;
  version: string;
}

/** The first message of a connection. */
export interface Hello {
  type: "hello";
  id: string;
  protocol: string;
  version: number;
  /** Who greets: one id for each running program. */
  client_id: string;
  role: Role;
  client?: ClientInfo;
}

/** Limits that the daemon tells. */
export interface Limits {
  /** Largest length field of a frame. */
  frame_bytes_max: number;
  /** Input bytes that may be under way. */
  input_window: number;
  /** Observers that a session may have. */
  observers_max: number;
}

/** The answer to a hello. */
export interface HelloOk {
  type: "hello_ok";
  id: string;
  /** The version spoken from here on. */
  version: number;
  /** Made with the state directory: another one than last time means other sessions. */
  daemon_id: string;
  /** Number of this daemon's start. */
  daemon_epoch: number;
  /** The machine's boot. */
  boot_id: string;
  /** The daemon's version. */
  daemon_version: string;
  limits: Limits;
  /** Sessions that this client owns. */
  owned: string[];
}

// ----------------------------------------------------------------------------------------------------------- record

/** Where a session stands. */
export type State = "Starting" | "Running" | "Terminating" | "Exited" | "Finalized";

/** What follows if a session's program is lost with its holder or its machine. */
export type Restore = "never" | "offer" | "shell" | "command";

/** What a restore starts: a login shell, or the same command again. */
export type RestoreAs = "shell" | "command";

/** Whether another client of the same user may take an owned session. */
export type Takeover = "allow" | "deny";

/** Why the ownership of a session changed. */
export type Cause = "takeover" | "released" | "lapsed" | "claimed" | "restored";

/** A process that outlived the kill of its session. */
export interface Survivor {
  pid: number;
  command: string;
}

/** What is known of an end beside the way of it. */
export interface ExitFacts {
  /** True if the kill's deadline passed with processes left. */
  forced?: boolean;
  /** Processes that outlived the kill. */
  survivors?: Survivor[];
  /** `deadline` if output was cut off by the drain deadline. */
  drain?: string;
}

/** How a program ended: exactly one of the ways, and what else is known. */
export type Exit = ExitFacts &
  (
    | { code: number }
    | { signal: string }
    | { never_started: boolean }
    | { spawn_failed: string }
    | { lost: string }
    | { unreaped: boolean }
  );

/** A kill that was accepted. */
export interface KillRecord {
  kill_id: string;
  /** When SIGKILL is due. */
  deadline_at: number;
}

/** What the last start of the daemon, or the last loss of its program, made of a session. */
export interface Recovery {
  outcome: EntryOutcome;
  code?: string;
}

/** A session as `create`, `list` and `inspect` tell it. */
export interface SessionRecord {
  /** Its identity, for good. */
  id: string;
  /** Its name, unique among sessions that are not Finalized. */
  name: string;
  /** The key it was created with. */
  key?: string;
  /** Number of program starts. */
  incarnation: number;
  state: State;
  /** The client that may type. */
  owner?: string;
  /** Number of changes of ownership; 0 before the first owner. */
  owner_epoch: number;
  /** How many streams observe it. */
  observers: number;
  /** The program's process id, once started. */
  pid?: number;
  /** The command; for a login shell its path. */
  command: string;
  args: string[];
  cwd: string;
  created_at: number;
  started_at?: number;
  exited_at?: number;
  /** How its program ended. */
  exit?: Exit;
  /** The kill under way. */
  kill?: KillRecord;
  /** Since when nobody owns it. */
  detached_at?: number;
  cols: number;
  rows: number;
  /** First output offset that is kept. */
  base_offset: number;
  /** Offset after the last output byte that is journalled. */
  end_offset: number;
  last_output_at?: number;
  /** The title that the program set. */
  title?: string;
  /** The working directory that the program reported. */
  current_dir?: string;
  restore: Restore;
  takeover: Takeover;
  recovery?: Recovery;
  labels: Record<string, string>;
}

// --------------------------------------------------------------------------------------------------------- requests

/** Starts a program. Answered when it runs, or with the reason why it does not. */
export interface Create {
  /** A session that exists with this key is returned instead. A library draws one where there is none. */
  key?: string;
  /** 1 to 64 of `[A-Za-z0-9._-]`; absent: two words are drawn. */
  name?: string;
  /** The program, looked up in the new environment's PATH; absent: the login shell. */
  command?: string;
  /** Its arguments, without its own name. */
  args?: string[];
  /** Where it starts; absent: the home directory. */
  cwd?: string;
  /** Its environment, over the daemon's own. */
  env?: Record<string, string>;
  /** `env` alone, nothing of the daemon's. */
  clear_env?: boolean;
  /** Whether a shell is a login shell; absent: true without a command. */
  login?: boolean;
  /** Columns, 0 for unknown. */
  cols: number;
  /** Rows, 0 for unknown. */
  rows: number;
  /** Width in pixels, 0 for unknown. */
  xpixel?: number;
  /** Height in pixels, 0 for unknown. */
  ypixel?: number;
  restore?: Restore;
  takeover?: Takeover;
  /** Whether the client owns it from the start (it does, if absent). */
  own?: boolean;
  /** Most bytes of output to keep. */
  retention_bytes?: number;
  /** How long to keep output, in milliseconds. */
  retention_age_ms?: number;
  /** At most 32; keys of 1 to 64 of `[A-Za-z0-9._/-]`, values of at most 256 bytes. */
  labels?: Record<string, string>;
}

/** Answer to `create`. */
export interface Created {
  /** False if a session with the key existed; it is the one returned. */
  created: boolean;
  session: SessionRecord;
}

/** Tells of all sessions, by id. */
export interface List {
  /** Only sessions that have all of these. */
  labels?: Record<string, string>;
  /** Only sessions in one of these; absent: all. */
  states?: State[];
  /** Only sessions behind this id: `next` of the answer before. */
  after?: string;
  /** At most so many, 1 to 1,000. */
  limit?: number;
}

/** Answer to `list`. */
export interface Listed {
  sessions: SessionRecord[];
  /** There are more behind this id. */
  next?: string;
}

/** Tells of one session. */
export interface Inspect {
  /** Its id or its name. */
  session: string;
  /** Also the environment that is stored for a restore. */
  env?: boolean;
}

/** One stream of a session. */
export interface StreamInfo {
  client_id: string;
  mode: Mode;
  /** Up to where it was sent. */
  offset: number;
  /** How full the queue of its connection is. */
  level: Level;
}

/** Answer to `inspect`. */
export interface Inspected {
  session: SessionRecord;
  /** The stored environment, if it was asked for and there is one. */
  env?: Record<string, string>;
  streams: StreamInfo[];
}

/** Ends the program and every process of its session. Only its owner may. */
export interface Kill {
  session: string;
  /** Milliseconds until SIGKILL, at most 60,000. */
  grace_ms?: number;
  /** No grace; of a kill under way too. */
  force?: boolean;
  /** The first signal, in place of SIGHUP. */
  signal?: string;
  /** Refused with `OWNER_CHANGED` if it is not the present one. */
  owner_epoch?: number;
}

/** Answer to `kill`. */
export interface Killed {
  /** Names the kill: the same again for a repeated request. */
  kill_id: string;
  /** When SIGKILL is due, milliseconds since 1970. */
  deadline_ms: number;
  /** True if a kill was under way, or the program had ended. */
  already: boolean;
}

/** Whom a signal goes to: the group in the foreground, the program itself, or its process group. */
export type Target = "foreground" | "leader" | "session";

/** Sends a signal. Only the owner may. */
export interface Signal {
  session: string;
  /** By name, such as `SIGINT`. */
  signal: string;
  /** Absent: `foreground`. */
  target?: Target;
  /** Refused with `OWNER_CHANGED` if it is not the present one. */
  owner_epoch?: number;
}

/** Changes the terminal's size. Only the owner may. */
export interface Resize {
  session: string;
  /** Columns, 0 for unknown (then nothing changes). */
  cols: number;
  /** Rows, 0 for unknown (then nothing changes). */
  rows: number;
  xpixel?: number;
  ypixel?: number;
  /** Refused with `OWNER_CHANGED` if it is not the present one. */
  owner_epoch?: number;
}

/** Answer to `resize`: the size now. */
export interface SizeNow {
  cols: number;
  rows: number;
}

/** Makes the client the owner, if the session's policy allows it. Its streams of the session become the owner's. */
export interface Take {
  session: string;
  /** Refused with `OWNER_CHANGED` if it is not the present one. */
  owner_epoch?: number;
  /** The new owner's columns, 0 for unknown. */
  cols?: number;
  /** The new owner's rows, 0 for unknown. */
  rows?: number;
}

/** Answer to `takeover`. */
export interface TakenOver {
  owner_epoch: number;
  /** Input applied in it: 0, unless the client owned the session already. */
  input_applied: number;
}

/** Gives ownership up. Only the owner may. */
export interface Release {
  session: string;
  /** The next owner, who must be attached; absent: nobody. */
  to?: string;
  /** Refused with `OWNER_CHANGED` if it is not the present one. */
  owner_epoch?: number;
}

/** Answer to `release`. */
export interface Released {
  /** The epoch that began. */
  owner_epoch: number;
}

/** Gives a session another name. Its owner may, and anybody while nobody owns it. */
export interface Rename {
  session: string;
  name: string;
}

/** Answer to `rename`. */
export interface Renamed {
  session: SessionRecord;
}

/** Removes an ended session. Answered when its output is dropped. */
export interface Remove {
  session: string;
}

/** What a request carries that needs nothing, and what one brings that tells nothing. */
export interface Nothing {}

/** Types. Only the owner may. Answered when all of it was applied, or after 5 s with how much was. */
export interface Write {
  session: string;
  /** 1 to 65,536 bytes. */
  data_base64: string;
  /** Refused with `OWNER_CHANGED` if it is not the present one. */
  owner_epoch?: number;
  /** Where in the owner's input it stands, which makes it repeatable; absent: behind all that was accepted. */
  input_offset?: number;
}

/** Answer to `write`. */
export interface Written {
  /** The epoch in which it was typed. */
  owner_epoch: number;
  /** Behind its last byte. */
  input_offset: number;
  /** How much of the epoch's input has reached the program's terminal. */
  input_applied: number;
}

/** What a terminal shows, or the history kept with it too. */
export type TextOf = "screen" | "all";

/** Tells the text of a session's screen. */
export interface Text {
  session: string;
  what: TextOf;
  /** At most the last so many lines; absent: all. */
  lines?: number;
}

/** Answer to `text`. */
export interface ScreenText {
  /** The lines, each with its end; blanks at their ends are left out. */
  text: string;
  cols: number;
  rows: number;
  /** Column and row of the cursor, from 0. */
  cursor: [number, number];
  /** Whether it is the alternate screen. */
  alternate: boolean;
  /** The output that made it ends here. */
  offset: number;
}

/** What is waited for: its end, no output for `value` ms, a line that matches the regular expression `value`. */
export type WaitFor = "exit" | "idle_ms" | "match";

/** Waits until something holds of a session. */
export interface Wait {
  session: string;
  for: WaitFor;
  /** For `idle_ms` a number, for `match` an expression in the syntax of the Rust crate `regex`. */
  value?: number | string;
  /** Where matching begins; absent: with what is printed from now on. */
  from?: number;
  /** Milliseconds after which it is given up. */
  timeout_ms: number;
}

/** Answer to `wait`. */
export interface Waited {
  /** False: the time was over, or it cannot come to hold any more. */
  met: boolean;
  /** Output was looked at up to here: `from` of the next wait. */
  offset: number;
  /** What matched. */
  match?: string;
  /** How the program ended, if it has. */
  exit?: Exit;
}

/** Asks for events. It takes the place of the connection's subscription before. */
export interface Subscribe {
  /** Only events of these; absent: all. */
  sessions?: string[];
  /** The number of the last event that is known: those behind it follow. Absent: those from now on. */
  from_event?: number;
}

/** Answer to `subscribe`; the events follow it. */
export interface Subscribed {
  /** Events behind this number follow. */
  from: number;
  /** The newest event. */
  head: number;
}

/** Answer to `unsubscribe`. */
export interface Unsubscribed {
  /** The first event that was not told; absent if nothing was subscribed to. */
  next?: number;
}

/** Starts a program in the place of one that was lost. */
export interface Recover {
  session: string;
  /** What is started; absent: what the session's policy says. */
  as?: RestoreAs;
}

/** Answer to `recover`. */
export interface Recovered {
  session: SessionRecord;
}

/** What a start of the daemon, or a loss, made of a session. */
export type EntryOutcome =
  | "alive"
  | "ended"
  | "zombie"
  | "unrecoverable"
  | "restored"
  | "offered"
  | "orphan"
  | "pending";

/** One session in a recovery report. */
export interface ReportEntry {
  session: string;
  name: string;
  outcome: EntryOutcome;
  /** The failure, for outcomes that are one. */
  code?: ErrorCode;
  /** Missing output; null where nobody can know how much, absent: none. */
  lost_bytes?: number | null;
  detail?: string;
}

/** Why an upgrade did not happen. */
export interface UpgradeFailure {
  /** `check` or `start`. */
  phase: string;
  reason: string;
}

/** Answer to `recovery_report`. */
export interface RecoveryReport {
  daemon_epoch: number;
  boot_id: string;
  /** When it began, milliseconds since 1970. */
  at: number;
  took_ms: number;
  upgrade?: UpgradeFailure;
  sessions: ReportEntry[];
}

/** One queue of the daemon. */
export interface LayerStats {
  layer: Layer;
  /** Whose it is. */
  of: string;
  level: Level;
  queued_bytes: number;
  limit_bytes: number;
}

/** Answer to `stats`. */
export interface Stats {
  /** By name, as the daemon's metrics have it. */
  metrics: Record<string, unknown>;
  layers: LayerStats[];
}

/** What becomes of the programs when the daemon stops: they live on, or each session is killed first. */
export type ShutdownMode = "keep" | "terminate";

/** The daemon that follows. */
export interface RestartWith {
  /** Its program; absent: the one that runs. */
  binary?: string;
}

/** Stops the daemon, or replaces it. */
export interface Shutdown {
  mode: ShutdownMode;
  /** Present: another daemon follows. */
  restart?: RestartWith;
}

/** Each request of a control connection: what it carries beside `type` and `id`, and what its `ok` brings. */
export interface Requests {
  create: { request: Create; answer: Created };
  list: { request: List; answer: Listed };
  inspect: { request: Inspect; answer: Inspected };
  kill: { request: Kill; answer: Killed };
  signal: { request: Signal; answer: Nothing };
  resize: { request: Resize; answer: SizeNow };
  takeover: { request: Take; answer: TakenOver };
  release: { request: Release; answer: Released };
  rename: { request: Rename; answer: Renamed };
  remove: { request: Remove; answer: Nothing };
  write: { request: Write; answer: Written };
  text: { request: Text; answer: ScreenText };
  wait: { request: Wait; answer: Waited };
  subscribe: { request: Subscribe; answer: Subscribed };
  unsubscribe: { request: Nothing; answer: Unsubscribed };
  recover: { request: Recover; answer: Recovered };
  recovery_report: { request: Nothing; answer: RecoveryReport };
  stats: { request: Nothing; answer: Stats };
  shutdown: { request: Shutdown; answer: Nothing };
}

/** The `type` of a request of a control connection. */
export type RequestType = keyof Requests;

// ------------------------------------------------------------------------------ what comes on a control connection

/** A request succeeded. */
export interface Ok {
  type: "ok";
  id: string;
  /** The `answer` of its request. */
  result: unknown;
}

/** What every numbered event has. Numbers are dense over all sessions. */
export interface EventHead {
  type: "event";
  event_number: number;
  /** When it was recorded, milliseconds since 1970. */
  at: number;
}

/** A transition that is on disk. */
export type Happened = EventHead &
  (
    | { event: "boot"; data: { daemon_epoch: number } }
    | { event: "created"; session: string; data: { record: SessionRecord } }
    | { event: "start"; session: string }
    | { event: "started"; session: string; data: { pid: number } }
    | { event: "kill"; session: string; data: { kill_id: string; deadline_at: number; by?: string } }
    | { event: "exited"; session: string; data: { exit: Exit } }
    | { event: "finalized"; session: string; data: { end_offset: number; exit: Exit } }
    | {
        event: "owner_changed";
        session: string;
        data: { former?: string; owner?: string; owner_epoch: number; cause: Cause };
      }
    | { event: "resized"; session: string; data: { cols: number; rows: number } }
    | { event: "renamed"; session: string; data: { name: string } }
    | { event: "restoring"; session: string; data: { incarnation: number; as: RestoreAs } }
    | { event: "removed"; session: string; data: { cause: string } }
    | { event: "recovered"; session: string; data: { outcome: EntryOutcome; code?: string } }
  );

/** Events up to this number were none of those that were asked for. */
export interface Progress {
  type: "event";
  event: "progress";
  event_number: number;
}

/** The connection is about to be closed. */
export interface ControlDetached {
  type: "event";
  event: "detached";
  code: ErrorCode;
  /** Whether another daemon follows. */
  restart?: boolean;
}

/** What a queue holds: room, half of its limit, next to no room. */
export type Level = "normal" | "elevated" | "high";

/** Which queue: of a session's output, of a client, of one connection. */
export type Layer = "session" | "client" | "socket";

/** The level of a queue has changed. */
export interface BackpressureWarning {
  type: "backpressure_warning";
  /** The session whose output or stream it is; absent for a client's queue. */
  session?: string;
  layer: Layer;
  previous: Level;
  level: Level;
  queued_bytes: number;
  limit_bytes: number;
  /** Counts the changes of this queue from 1: who misses one sees it. */
  change: number;
}

/** Any message of the daemon on a control connection. */
export type ControlMessage =
  | HelloOk
  | Ok
  | ErrorMessage
  | Happened
  | Progress
  | ControlDetached
  | BackpressureWarning;

// -------------------------------------------------------------------------------------------------------- streams

/** What a stream may do: see, type and resize; or see. */
export type Mode = "owner" | "observer";

/** A place in the output. */
export interface Position {
  offset: number;
  /** `epoch` of the `attached` before: it tells whether those bytes still stand. */
  epoch?: number;
}

/** Where output begins: with a picture of the screen, with what comes, or at a byte. */
export type StartAt = "snapshot" | "live" | Position;

/** What happens to a stream that falls behind: a named skip to a snapshot, its end, or nothing. */
export type OnLag = "resync" | "disconnect" | "follow";

/** Which session, as whom, from where. */
export interface Attach {
  session: string;
  mode: Mode;
  /** Absent: `snapshot`. */
  from?: StartAt;
  /** The owner's columns, 0 for unknown. */
  cols?: number;
  /** The owner's rows, 0 for unknown. */
  rows?: number;
  xpixel?: number;
  ypixel?: number;
  /** Absent: `resync`. */
  on_lag?: OnLag;
  /** How far it may fall behind, 65,536 to 2^30 bytes. */
  lag_bytes_max?: number;
  /** Most output that is sent before it was acknowledged, at least 65,536 bytes; absent: no bound. */
  window_bytes?: number;
  /** History lines in the snapshot, at most 100,000. */
  scrollback_lines?: number;
  /** Where the stream ends with `END_REACHED`; absent: nowhere. */
  until?: number;
  /** Whether it is told when each record was written. */
  times?: boolean;
  /** Path of a socket: the target of the session's `SSH_AUTH_SOCK`. */
  agent?: string;
  /** The owner epoch whose input this stream began and goes on with, after a reconnect. */
  owner_epoch?: number;
}

/** The owner's new size. */
export interface WindowSize {
  cols: number;
  rows: number;
  xpixel?: number;
  ypixel?: number;
}

/** Any message of the client on a stream connection. All but `attach` have no id and no answer. */
export type StreamRequest =
  | ({ type: "attach"; id: string } & Attach)
  | ({ type: "resize" } & WindowSize)
  | { type: "ack"; offset: number }
  | { type: "input_state" }
  | { type: "detach" };

/** What was applied in a former epoch of ownership; epoch 0: none wrote. */
export interface Former {
  owner_epoch: number;
  input_applied: number;
}

/** A stream began. */
export interface Attached {
  type: "attached";
  id: string;
  session: string;
  incarnation: number;
  /** The log's epoch: to be given with the offset when the stream is resumed. */
  epoch: number;
  state: State;
  mode: Mode;
  /** First byte of output that is sent. */
  offset: number;
  /** First byte that is kept. */
  base_offset: number;
  /** Offset after the last byte now. Queries of the program below it were answered. */
  end_offset: number;
  /** Size of the snapshot that comes first; 0: none comes. */
  snapshot_bytes: number;
  cols: number;
  rows: number;
  owner?: string;
  owner_epoch: number;
  /** Input applied in that epoch. */
  input_applied: number;
  /** Input bytes that may be under way. */
  input_window: number;
  /** The last epoch before in which input was applied; absent where no holder told it. */
  former?: Former;
}

/** The terminal's size from `offset` on. */
export interface Resized {
  type: "resized";
  offset: number;
  cols: number;
  rows: number;
}

/** The owner from `offset` on. */
export interface OwnershipChanged {
  type: "ownership_changed";
  offset: number;
  /** Who owned it. */
  former?: string;
  /** Who owns it; absent: nobody. */
  owner?: string;
  /** The epoch that began. */
  owner_epoch: number;
  cause: Cause;
  /** What this stream may do from now on. */
  mode: Mode;
}

/** How much input reached the program's terminal. */
export interface InputApplied {
  type: "input_applied";
  owner_epoch: number;
  input_offset: number;
  /** The epoch has ended, nothing more of it will be applied. */
  final?: boolean;
}

/** Everything from `from` to `to` was skipped; a snapshot of `to` follows. The rest as in `Attached`. */
export interface Lagged {
  type: "lagged";
  from: number;
  to: number;
  snapshot_bytes: number;
  cols: number;
  rows: number;
  incarnation: number;
  owner?: string;
  owner_epoch: number;
  mode: Mode;
}

/** A new program begins at `offset`, in the place of one that was lost. */
export interface Restored {
  type: "restored";
  offset: number;
  incarnation: number;
  /** When, milliseconds since 1970. */
  at: number;
  as: RestoreAs;
  /** The loss of the program before. */
  code: string;
}

/** Output is missing at `offset`; it goes on at `offset + lost_bytes`. */
export interface Hole {
  type: "hole";
  offset: number;
  code: ErrorCode;
  /** Absent where nobody can know. */
  lost_bytes?: number;
}

/** When the record that begins or goes on at `offset` was written. */
export interface Time {
  type: "time";
  offset: number;
  /** Milliseconds since 1970. */
  at: number;
}

/** How the program ended, after its last byte. */
export interface Exited {
  type: "exited";
  offset: number;
  exit: Exit;
  exited_at: number;
}

/** The stream ends: always the last message. */
export interface Detached {
  type: "detached";
  code: ErrorCode;
  /** Where to go on. */
  resume_offset?: number;
  /** The log's epoch, for the resume. */
  epoch?: number;
  /** End of the unreadable range, with `JOURNAL_CORRUPT`. */
  lost_to?: number;
  /** Whether another daemon follows, with `DAEMON_STOPPING`. */
  restart?: boolean;
}

/** Any message of the daemon on a stream connection. Those with `offset` stand in order with the output. */
export type StreamMessage =
  | HelloOk
  | ErrorMessage
  | Attached
  | Resized
  | OwnershipChanged
  | InputApplied
  | Lagged
  | Restored
  | BackpressureWarning
  | Hole
  | Time
  | Exited
  | Detached;
