//! The wire format: numbered fields, each a varint, eight or four bytes, or bytes with a length.

/// The bytes break off, or are none of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes: nothing that is read here.
    Fixed,
}

/// The fields of one message, in the order written. Ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Broken)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken)
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(length).map_err(|_| Broken)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<(u64, Data<'a>), Broken> {
        let key = self.varint()?;
        let data = match key & 7 {
            0 => Data::Varint(self.varint()?),
            1 => self.bytes(8).map(|_| Data::Fixed)?,
            2 => {
                let length = self.varint()?;
                Data::Bytes(self.bytes(length)?)
            }
            5 => self.bytes(4).map(|_| Data::Fixed)?,
            _ => return Err(Broken),
        };
        Ok((key >> 3, data))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u64, Data<'a>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn flag(&mut self, number: u64, value: bool) {
        self.varint(number << 3);
        self.varint(u64::from(value));
    }

    pub(crate) fn text(&mut self, number: u64, text: &str) {
        self.raw(number, text.as_bytes());
    }

    /// A message in a field.
    pub(crate) fn message(&mut self, number: u64, message: &Writer) {
        self.raw(number, &message.bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn raw(&mut self, number: u64, bytes: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    #[cfg(test)]
    pub(crate) fn number(&mut self, number: u64, value: u64) {
        self.varint(number << 3);
        self.varint(value);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}
