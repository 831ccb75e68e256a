//! Fields in order, little-endian.

/// Bytes that are not what this format writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Appends fields to a buffer.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// u16 length and UTF-8. Names and keys are far below that bound when they come here.
    fn put_str(&mut self, value: &str) {
        debug_assert!(u16::try_from(value.len()).is_ok(), "names are bounded");
        self.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        self.put(value.as_bytes());
    }

    /// The count before a list.
    fn put_count(&mut self, count: usize) {
        debug_assert!(u32::try_from(count).is_ok(), "lists are bounded");
        self.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// u32 length and bytes.
    fn put_bytes(&mut self, value: &[u8]) {
        self.put_count(value.len());
        self.put(value);
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Takes fields from a slice; every read is checked.
#[derive(Debug)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("a field is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("a field is cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u16()?;
        std::str::from_utf8(self.bytes(usize::from(len))?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    pub(crate) fn sized_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.bytes(len as usize)
    }

    /// A list whose items take at least `item_bytes_min`: the count is checked against what is there before anything
    /// is reserved.
    pub(crate) fn list<T>(
        &mut self,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()? as usize;
        if count.saturating_mul(item_bytes_min) > self.0.len() {
            return Err(Malformed("a list is cut off"));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes behind the last field")) }
    }
}
