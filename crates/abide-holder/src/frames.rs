//! Holder frames, version 1: `u32 length` (of what follows) · `u8 kind` · fixed fields; little-endian, no padding.
//!
//! Kinds below 128 go to the holder, the others come from it. This is frozen: every later daemon understands it, and
//! `ping` and `hangup` never change in any version. `docs/holder.md` has the table.

use abide_ring::{HEADER_BYTES, Header, Invalid, State};

/// Most bytes of a frame after its length field.
pub const FRAME_BYTES_MAX: usize = 69_632;
/// Most bytes of one `input` frame, and of all input in flight.
pub const INPUT_BYTES_MAX: usize = 64 << 10;
/// Most bytes of one `inject` frame, and of all that wait.
pub const INJECT_BYTES_MAX: usize = 4 << 10;

const LENGTH_BYTES: usize = 4;

/// Bytes that are no frame. The connection is closed; nothing of the frame has had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than any frame, or without a kind.
    #[error("a frame of {0} bytes")]
    Length(u32),
    /// A kind that this version does not have, or that goes the other way.
    #[error("frame kind {0} is unknown")]
    Kind(u8),
    /// A known kind with fields that it cannot have.
    #[error("a frame of kind {kind} has {bytes} bytes, or a field out of range")]
    Fields {
        /// The kind.
        kind: u8,
        /// Bytes after the kind.
        bytes: usize,
    },
    /// A header of another version in `adopted`.
    #[error(transparent)]
    Header(#[from] Invalid),
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The program that the holder started.
    Leader,
    /// The terminal's foreground process group.
    Foreground,
    /// The leader's process group.
    LeaderGroup,
}

impl Target {
    fn code(self) -> u8 {
        match self {
            Self::Leader => 0,
            Self::Foreground => 1,
            Self::LeaderGroup => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Leader, Self::Foreground, Self::LeaderGroup].into_iter().find(|target| target.code() == code)
    }
}

/// What a daemon (or a probe) says to a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToHolder<'a> {
    /// Kind 1. Answered with `pong` on any connection; changes nothing.
    Ping,
    /// Kind 2. Makes this connection the daemon's. Answered with `adopted`, or with `refused` if an epoch as high was here.
    Adopt {
        /// The daemon's epoch, higher than any before.
        daemon_epoch: u64,
        /// The session it expects here.
        session: [u8; 16],
        /// The frames' version.
        version: u32,
    },
    /// Kind 3. Starts the program, once. Answered with `started` or `failed`, also when repeated.
    Start {
        /// The incarnation that the holder was launched for.
        incarnation: u64,
    },
    /// Kind 4. The owner's input. Not answered: the header's `input_applied` shows it.
    Input {
        /// The owner's epoch; of another one: dropped.
        owner_epoch: u32,
        /// Offset of the first byte in this owner epoch.
        input_offset: u64,
        /// At most [`INPUT_BYTES_MAX`].
        bytes: &'a [u8],
    },
    /// Kind 5. Sets the terminal's size; the same again does nothing.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
        /// Width in pixels, 0: unknown.
        xpixel: u16,
        /// Height in pixels, 0: unknown.
        ypixel: u16,
    },
    /// Kind 6. Answered with `done`.
    Signal {
        /// Signal number.
        number: u8,
        /// For whom.
        target: Target,
    },
    /// Kind 7. Signals the process of that pid and start time. Answered with `done`, ESRCH if it is another one.
    SignalProcess {
        /// Its pid.
        pid: u32,
        /// Field 22 of its `stat`.
        start_time: u64,
        /// Signal number.
        number: u8,
    },
    /// Kind 8. A new owner: drops input not yet written, counts from 0. Answered with `owner_ok`, also when repeated.
    Owner {
        /// Higher than before.
        owner_epoch: u32,
    },
    /// Kind 9. Closes the terminal, kills the program after 1 s, removes the holder's files, ends it. On any connection.
    Hangup,
    /// Kind 10. Removes the holder's files and ends it, once all output is acknowledged.
    Collect {
        /// The end of output, as the header says it.
        eof_offset: u64,
    },
    /// Kind 11. Stops reading, closes the terminal, sets `eof_offset`.
    Abandon,
    /// Kind 12. Answers to terminal queries: written when no owner input waits, not counted.
    Inject {
        /// At most [`INJECT_BYTES_MAX`].
        bytes: &'a [u8],
    },
}

/// Who a holder is, as it answers to `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// Version of frames and ring; of another one than [`abide_ring::VERSION`] only `hangup` may be sent.
    pub version: u32,
    /// The holder's pid.
    pub pid: u32,
    /// The holder's start time (field 22 of its `stat`).
    pub start_time: u64,
    /// The boot it was made in.
    pub boot_id: [u8; 16],
    /// Its session.
    pub session: [u8; 16],
    /// Its incarnation.
    pub incarnation: u64,
    /// What it is doing; `None`: a number that this version does not know.
    pub state: Option<State>,
    /// The program's pid, 0 before it runs.
    pub child_pid: u32,
    /// Epoch of the daemon that adopted last; 0: none.
    pub daemon_epoch: u64,
}

/// What a holder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromHolder {
    /// Kind 129.
    Pong(Pong),
    /// Kind 130. Descriptors come with it: ring, page, eventfd to the daemon, eventfd to the holder, the spill if any.
    Adopted(Header),
    /// Kind 131. This epoch, the same or a higher one, was here.
    Refused {
        /// The epoch adopted last.
        daemon_epoch: u64,
    },
    /// Kind 132.
    Started {
        /// The program's pid.
        pid: u32,
        /// Its start time.
        start_time: u64,
    },
    /// Kind 133.
    Failed {
        /// The step that failed, [`crate::Step`] by its code.
        step: u32,
        /// Its errno.
        errno: u32,
    },
    /// Kind 134. In the order of the requests.
    Done {
        /// 0: sent.
        errno: u32,
    },
    /// Kind 135.
    OwnerOk {
        /// The epoch in force.
        owner_epoch: u32,
        /// The last epoch before it that wrote any input; 0: none.
        former_epoch: u32,
        /// Its final count.
        former_applied: u64,
    },
    /// Kind 136. Once, to the daemon adopted at the time; others find it in the header.
    Ended {
        /// As `waitpid` gives it.
        wait_status: u32,
    },
}

impl<'a> ToHolder<'a> {
    /// Appends the frame. `bytes` longer than its bound makes a frame that the holder closes the connection for.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Ping => Writer::begin(out, 1).end(),
            Self::Adopt { daemon_epoch, session, version } => {
                Writer::begin(out, 2).u64(daemon_epoch).bytes(&session).u32(version).end();
            }
            Self::Start { incarnation } => Writer::begin(out, 3).u64(incarnation).end(),
            Self::Input { owner_epoch, input_offset, bytes } => {
                Writer::begin(out, 4).u32(owner_epoch).u64(input_offset).bytes(bytes).end();
            }
            Self::Resize { cols, rows, xpixel, ypixel } => {
                Writer::begin(out, 5).u16(cols).u16(rows).u16(xpixel).u16(ypixel).end();
            }
            Self::Signal { number, target } => Writer::begin(out, 6).bytes(&[number, target.code()]).end(),
            Self::SignalProcess { pid, start_time, number } => {
                Writer::begin(out, 7).u32(pid).u64(start_time).bytes(&[number]).end();
            }
            Self::Owner { owner_epoch } => Writer::begin(out, 8).u32(owner_epoch).end(),
            Self::Hangup => Writer::begin(out, 9).bytes(&[0]).end(),
            Self::Collect { eof_offset } => Writer::begin(out, 10).u64(eof_offset).end(),
            Self::Abandon => Writer::begin(out, 11).end(),
            Self::Inject { bytes } => Writer::begin(out, 12).bytes(bytes).end(),
        }
    }

    /// The first frame of `buffer` and its whole length in bytes; `None` while it is incomplete.
    pub fn decode(buffer: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((kind, mut fields, length)) = split(buffer)? else { return Ok(None) };
        let frame = Self::read(kind, &mut fields)?;
        Ok(Some((fields.finish(frame)?, length)))
    }

    fn read(kind: u8, fields: &mut Reader<'a>) -> Result<Self, FrameError> {
        Ok(match kind {
            1 => Self::Ping,
            2 => Self::Adopt { daemon_epoch: fields.u64()?, session: fields.array()?, version: fields.u32()? },
            3 => Self::Start { incarnation: fields.u64()? },
            4 => Self::Input {
                owner_epoch: fields.u32()?,
                input_offset: fields.u64()?,
                bytes: fields.rest(INPUT_BYTES_MAX)?,
            },
            5 => {
                let [cols, rows, xpixel, ypixel] = [fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?];
                Self::Resize { cols, rows, xpixel, ypixel }
            }
            6 => {
                let [number, target] = fields.array()?;
                Self::Signal { number, target: Target::from_code(target).ok_or(fields.wrong())? }
            }
            7 => Self::SignalProcess { pid: fields.u32()?, start_time: fields.u64()?, number: fields.u8()? },
            8 => Self::Owner { owner_epoch: fields.u32()? },
            9 if fields.u8()? == 0 => Self::Hangup,
            9 => return Err(fields.wrong()),
            10 => Self::Collect { eof_offset: fields.u64()? },
            11 => Self::Abandon,
            12 => Self::Inject { bytes: fields.rest(INJECT_BYTES_MAX)? },
            _ => return Err(FrameError::Kind(kind)),
        })
    }
}

impl FromHolder {
    /// Appends the frame. Nothing is allocated if `out` has room for 4,101 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Pong(pong) => {
                let writer = Writer::begin(out, 129).u32(pong.version).u32(pong.pid).u64(pong.start_time);
                let writer = writer.bytes(&pong.boot_id).bytes(&pong.session).u64(pong.incarnation);
                let state = pong.state.map_or(u32::MAX, State::code);
                writer.u32(state).u32(pong.child_pid).u64(pong.daemon_epoch).end();
            }
            Self::Adopted(header) => Writer::begin(out, 130).bytes(&header.to_bytes()).end(),
            Self::Refused { daemon_epoch } => Writer::begin(out, 131).u64(*daemon_epoch).end(),
            Self::Started { pid, start_time } => Writer::begin(out, 132).u32(*pid).u64(*start_time).end(),
            Self::Failed { step, errno } => Writer::begin(out, 133).u32(*step).u32(*errno).end(),
            Self::Done { errno } => Writer::begin(out, 134).u32(*errno).end(),
            Self::OwnerOk { owner_epoch, former_epoch, former_applied } => {
                Writer::begin(out, 135).u32(*owner_epoch).u32(*former_epoch).u64(*former_applied).end();
            }
            Self::Ended { wait_status } => Writer::begin(out, 136).u32(*wait_status).end(),
        }
    }

    /// The first frame of `buffer` and its whole length in bytes; `None` while it is incomplete.
    pub fn decode(buffer: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((kind, mut fields, length)) = split(buffer)? else { return Ok(None) };
        let frame = Self::read(kind, &mut fields)?;
        Ok(Some((fields.finish(frame)?, length)))
    }

    fn read(kind: u8, fields: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(match kind {
            129 => Self::Pong(Pong {
                version: fields.u32()?,
                pid: fields.u32()?,
                start_time: fields.u64()?,
                boot_id: fields.array()?,
                session: fields.array()?,
                incarnation: fields.u64()?,
                state: State::from_code(fields.u32()?),
                child_pid: fields.u32()?,
                daemon_epoch: fields.u64()?,
            }),
            130 => Self::Adopted(Header::from_bytes(&fields.array::<HEADER_BYTES>()?)?),
            131 => Self::Refused { daemon_epoch: fields.u64()? },
            132 => Self::Started { pid: fields.u32()?, start_time: fields.u64()? },
            133 => Self::Failed { step: fields.u32()?, errno: fields.u32()? },
            134 => Self::Done { errno: fields.u32()? },
            135 => {
                Self::OwnerOk { owner_epoch: fields.u32()?, former_epoch: fields.u32()?, former_applied: fields.u64()? }
            }
            136 => Self::Ended { wait_status: fields.u32()? },
            _ => return Err(FrameError::Kind(kind)),
        })
    }
}

/// Kind, fields and whole length of the first frame, once it is complete.
fn split(buffer: &[u8]) -> Result<Option<(u8, Reader<'_>, usize)>, FrameError> {
    let Some((length, rest)) = buffer.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length);
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes == 0 || bytes > FRAME_BYTES_MAX {
        return Err(FrameError::Length(length));
    }
    let Some((&kind, fields)) = rest.get(..bytes).and_then(<[u8]>::split_first) else { return Ok(None) };
    Ok(Some((kind, Reader { kind, all: fields.len(), left: fields }, LENGTH_BYTES + bytes)))
}

struct Reader<'a> {
    kind: u8,
    all: usize,
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn wrong(&self) -> FrameError {
        FrameError::Fields { kind: self.kind, bytes: self.all }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (field, rest) = self.left.split_first_chunk().ok_or(self.wrong())?;
        self.left = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn rest(&mut self, bytes_max: usize) -> Result<&'a [u8], FrameError> {
        let rest = std::mem::take(&mut self.left);
        if rest.len() <= bytes_max { Ok(rest) } else { Err(self.wrong()) }
    }

    fn finish<T>(self, frame: T) -> Result<T, FrameError> {
        if self.left.is_empty() { Ok(frame) } else { Err(self.wrong()) }
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    fn begin(out: &'a mut Vec<u8>, kind: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        out.push(kind);
        Self { out, start }
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.out.extend_from_slice(bytes);
        self
    }

    fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn end(self) {
        let length = u32::try_from(self.out.len() - self.start - LENGTH_BYTES).unwrap_or(u32::MAX);
        self.out[self.start..self.start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }
}
