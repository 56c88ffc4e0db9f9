//! Protobuf's wire format, borrowed: fields of a message one after the other, nothing copied.
//!
//! **Source:** protobuf.dev, "Encoding". Groups, which proto3 lacks, are refused.

/// The bytes are no message of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) type Read<T> = Result<T, Malformed>;

/// A message within a record: where it begins and ends. The default is an empty one, which for a `Value` is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

/// What a field holds on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Span),
}

/// Steps through the fields of one message.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    pos: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// The fields of the message at `span` of `bytes`, a record of less than 4 GiB.
    pub fn of(bytes: &'a [u8], span: Span) -> Fields<'a> {
        Fields { bytes, pos: span.start as usize, end: span.end as usize }
    }

    /// The next field: its number and what it holds.
    #[inline]
    pub fn next(&mut self) -> Read<Option<(u32, Wire)>> {
        if self.pos >= self.end {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..1 << 29).contains(n)).ok_or(Malformed)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(*self.take()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                let start = self.pos;
                let end = start.checked_add(len).filter(|end| *end <= self.end).ok_or(Malformed)?;
                self.pos = end;
                Wire::Bytes(Span { start: start as u32, end: end as u32 })
            }
            5 => Wire::Fixed32(u32::from_le_bytes(*self.take()?)),
            _ => return Err(Malformed),
        };
        Ok(Some((number, wire)))
    }

    fn take<const N: usize>(&mut self) -> Read<&'a [u8; N]> {
        let chunk = self.bytes[self.pos..self.end].first_chunk().ok_or(Malformed)?;
        self.pos += N;
        Ok(chunk)
    }

    #[inline]
    fn varint(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes[..self.end].get(self.pos).ok_or(Malformed)?;
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
}

impl Wire {
    pub fn span(self) -> Read<Span> {
        match self {
            Wire::Bytes(span) => Ok(span),
            _ => Err(Malformed),
        }
    }

    pub fn int(self) -> Read<i64> {
        match self {
            Wire::Varint(n) => Ok(n as i64),
            _ => Err(Malformed),
        }
    }

    pub fn bool(self) -> Read<bool> {
        Ok(self.int()? != 0)
    }

    pub fn double(self) -> Read<f64> {
        match self {
            Wire::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Malformed),
        }
    }
}

/// The text at `span`.
pub(super) fn text(bytes: &[u8], span: Span) -> Read<&str> {
    std::str::from_utf8(&bytes[span.start as usize..span.end as usize]).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Read<Vec<(u32, Wire)>> {
        let mut fields = Fields::of(bytes, Span { start: 0, end: bytes.len() as u32 });
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn every_wire_type_is_read_and_nothing_beyond_the_end() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 0, 0, 0];
        let want = [
            (1, Wire::Varint(150)),
            (2, Wire::Bytes(Span { start: 5, end: 7 })),
            (3, Wire::Fixed64(0x0807_0605_0403_0201)),
            (4, Wire::Fixed32(1)),
        ];
        assert_eq!(all(&bytes).as_deref(), Ok(want.as_slice()));
        for cut in [1, 2, 4, 6, 8, 15, 17, 20] {
            assert_eq!(all(&bytes[..cut]), Err(Malformed), "{cut}");
        }
        // Field 0, a group, eleven bytes of varint, a length beyond the end.
        for bad in [&[0x00, 0][..], &[0x0b, 0x0c], &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[0x12, 0xff, 0x7f]] {
            assert_eq!(all(bad), Err(Malformed), "{bad:?}");
        }
    }
}
