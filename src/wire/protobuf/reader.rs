//! Protobuf's wire format, borrowed: fields of a message one after the other, nothing copied.
//!
//! **Source:** protobuf.dev, "Encoding". Groups, which proto3 lacks, are refused.

/// The bytes are no message of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) type Read<T> = Result<T, Malformed>;

/// A message or a text within a record: where it begins and ends, packed into a word. The default is an empty one, which for a `Value`
/// is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span(u64);

impl Span {
    #[inline(always)]
    pub fn new(start: usize, end: usize) -> Span {
        Span(start as u64 | (end as u64) << 32)
    }

    #[inline(always)]
    pub fn start(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline(always)]
    pub fn end(self) -> usize {
        (self.0 >> 32) as usize
    }
}

/// The tag of a field that holds an integer or a bool.
pub(super) const fn varint(field: u32) -> u32 {
    field << 3
}

/// The tag of a field that holds a double.
pub(super) const fn fixed64(field: u32) -> u32 {
    field << 3 | 1
}

/// The tag of a field that holds a text or a message.
pub(super) const fn bytes(field: u32) -> u32 {
    field << 3 | 2
}

/// Steps through the fields of one message. After [`Fields::tag`] the field has to be taken by the method that fits, or skipped; one of
/// a known number but another wire type is an unknown field, as in other readers.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    pub pos: usize,
}

impl<'a> Fields<'a> {
    /// The fields of the message at `span` of `bytes`, a record of less than 4 GiB.
    #[inline(always)]
    pub fn of(bytes: &'a [u8], span: Span) -> Fields<'a> {
        Fields { bytes: &bytes[..span.end()], pos: span.start() }
    }

    /// The next field's tag; 0 at the end, for no field has it.
    #[inline(always)]
    pub fn tag(&mut self) -> Read<u32> {
        match self.bytes.get(self.pos) {
            None => Ok(0),
            Some(tag @ 8..0x80) => {
                self.pos += 1;
                Ok(u32::from(*tag))
            }
            Some(_) => match u32::try_from(self.varint()?) {
                Ok(tag) if tag >= 8 => Ok(tag),
                _ => Err(Malformed),
            },
        }
    }

    #[inline(always)]
    pub fn varint(&mut self) -> Read<u64> {
        match self.bytes.get(self.pos) {
            Some(byte @ ..0x80) => {
                self.pos += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.pos).ok_or(Malformed)?;
            self.pos += 1;
            // The tenth byte holds one bit.
            if shift == 63 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    #[inline(always)]
    pub fn int(&mut self) -> Read<i64> {
        Ok(self.varint()? as i64)
    }

    #[inline(always)]
    pub fn bool(&mut self) -> Read<bool> {
        Ok(self.varint()? != 0)
    }

    pub fn double(&mut self) -> Read<f64> {
        let chunk = self.bytes[self.pos..].first_chunk().ok_or(Malformed)?;
        self.pos += 8;
        Ok(f64::from_le_bytes(*chunk))
    }

    #[inline(always)]
    pub fn span(&mut self) -> Read<Span> {
        let len = self.varint()?;
        let start = self.pos;
        if len > (self.bytes.len() - start) as u64 {
            return Err(Malformed);
        }
        self.pos = start + len as usize;
        Ok(Span::new(start, self.pos))
    }

    /// Steps over a field.
    pub fn skip(&mut self, tag: u32) -> Read<()> {
        let fixed = match tag & 7 {
            0 => return self.varint().map(|_| ()),
            2 => return self.span().map(|_| ()),
            1 => 8,
            5 => 4,
            _ => return Err(Malformed),
        };
        if self.bytes.len() - self.pos < fixed {
            return Err(Malformed);
        }
        self.pos += fixed;
        Ok(())
    }
}

/// The text at `span`.
#[inline]
pub(super) fn text(bytes: &[u8], span: Span) -> Read<&str> {
    std::str::from_utf8(&bytes[span.start()..span.end()]).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tags, each with where its field begins and ends.
    fn all(bytes: &[u8]) -> Read<Vec<(u32, usize, usize)>> {
        let mut fields = Fields::of(bytes, Span::new(0, bytes.len()));
        let mut found = Vec::new();
        loop {
            let tag = fields.tag()?;
            if tag == 0 {
                return Ok(found);
            }
            let start = fields.pos;
            fields.skip(tag)?;
            found.push((tag, start, fields.pos));
        }
    }

    #[test]
    fn every_wire_type_is_read_and_nothing_beyond_the_end() {
        let whole = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 0, 0, 0, 0x80, 0x01, 5];
        let want = [(varint(1), 1, 3), (bytes(2), 4, 7), (fixed64(3), 8, 16), (4 << 3 | 5, 17, 21), (varint(16), 23, 24)];
        assert_eq!(all(&whole).as_deref(), Ok(want.as_slice()));
        for cut in [1, 2, 4, 6, 8, 15, 17, 20, 22, 23] {
            assert_eq!(all(&whole[..cut]), Err(Malformed), "{cut}");
        }
        let mut fields = Fields::of(&whole, Span::new(0, whole.len()));
        assert_eq!((fields.tag(), fields.int()), (Ok(varint(1)), Ok(150)));
        assert_eq!((fields.tag(), fields.span()), (Ok(bytes(2)), Ok(Span::new(5, 7))));
        assert_eq!((fields.tag(), fields.double()), (Ok(fixed64(3)), Ok(f64::from_bits(0x0807_0605_0403_0201))));
        // Field 0 short and long, a group, a varint of eleven bytes and one of 65 bits, lengths beyond the end.
        let long = [8, 255, 255, 255, 255, 255, 255, 255, 255, 255];
        let bad: [&[u8]; 7] = [
            &[0x00, 0],
            &[0x80, 0x00, 0],
            &[0x0b, 0x0c],
            &[&long[..], &[255, 1]].concat(),
            &[&long[..], &[2]].concat(),
            &[0x12, 0xff, 0x7f],
            &[0x12, 1],
        ];
        for bad in bad {
            assert_eq!(all(bad), Err(Malformed), "{bad:?}");
        }
    }
}
