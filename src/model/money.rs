//! Money: minor units with a currency (LANGUAGE.md S45). There is no conversion and no float.

use std::fmt;
use std::str::FromStr;

/// An ISO 4217 code, three ASCII capitals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const EUR: Currency = Currency(*b"EUR");

    /// `None` unless the text is three ASCII capitals.
    pub fn parse(text: &str) -> Option<Currency> {
        let b: [u8; 3] = text.as_bytes().try_into().ok()?;
        b.iter().all(u8::is_ascii_uppercase).then_some(Currency(b))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII capitals by construction")
    }

    pub fn bytes(self) -> [u8; 3] {
        self.0
    }

    /// Digits after the point of the minor unit: 2 but for the codes that ISO 4217 lists with 0, 3 or 4.
    ///
    /// **Source:** ISO 4217:2015, list one (active codes).
    pub fn minor_digits(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV"
            | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Currency::parse(text).ok_or(())
    }
}

/// An amount. **Units:** minor units of the currency (cents for EUR, yen for JPY).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    pub minor: i64,
    pub currency: Currency,
}

/// The amount alone, with the currency's digits: `89.90`. `Money` prints it with the code: `89.90 EUR`.
pub struct Amount(pub Money);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.currency.minor_digits();
        write_scaled(f, self.0.minor, digits)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Amount(*self), self.currency)
    }
}

/// Writes `n / 10^digits` with exactly `digits` digits after the point.
pub(crate) fn write_scaled(f: &mut fmt::Formatter<'_>, n: i64, digits: u32) -> fmt::Result {
    let unit = 10u64.pow(digits);
    let abs = n.unsigned_abs();
    if n < 0 {
        f.write_str("-")?;
    }
    write!(f, "{}", abs / unit)?;
    if digits > 0 {
        write!(f, ".{:0width$}", abs % unit, width = digits as usize)?;
    }
    Ok(())
}

/// Reads decimal text (`-12.340`, exponents allowed) into units of `10^-digits`, rounded half-even (LANGUAGE.md R47).
/// `None` where it is no number or does not fit 64 bits.
pub fn parse_scaled(text: &str, digits: u32) -> Option<i64> {
    let b = text.as_bytes();
    let (negative, mut i) = match b.first()? {
        b'-' => (true, 1),
        b'+' => (false, 1),
        _ => (false, 0),
    };
    // Significant digits as an integer of at most 38 digits, with the exponent of its last digit; what lies beyond is only "not zero".
    let (mut mantissa, mut exponent, mut seen, mut sticky, mut point) = (0u128, 0i64, false, false, false);
    while i < b.len() {
        match b[i] {
            c @ b'0'..=b'9' => {
                seen = true;
                if mantissa < 10u128.pow(36) {
                    mantissa = mantissa * 10 + u128::from(c - b'0');
                    exponent -= i64::from(point);
                } else {
                    sticky |= c != b'0';
                    exponent += i64::from(!point);
                }
            }
            b'.' if !point => point = true,
            b'e' | b'E' if seen => {
                let e: i64 = text[i + 1..].parse().ok()?;
                exponent = exponent.checked_add(e)?;
                i = b.len();
                continue;
            }
            _ => return None,
        }
        i += 1;
    }
    if !seen || (b.last() == Some(&b'.')) {
        return None;
    }
    let shift = exponent.checked_add(i64::from(digits))?;
    let value = if mantissa == 0 {
        0
    } else if shift >= 0 {
        if shift > 38 {
            return None;
        }
        mantissa.checked_mul(10u128.checked_pow(shift as u32)?)?
    } else if shift < -38 {
        0
    } else {
        let unit = 10u128.pow((-shift) as u32);
        let (quotient, rest) = (mantissa / unit, mantissa % unit);
        let up = match (rest * 2).cmp(&unit) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => sticky || quotient % 2 == 1,
            std::cmp::Ordering::Less => false,
        };
        quotient + u128::from(up)
    };
    let value = i128::try_from(value).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_is_read_exactly_and_rounded_half_even() {
        for (text, digits, want) in [
            ("12.340000000000001", 2, Some(1234)),
            ("0.125", 2, Some(12)),
            ("0.135", 2, Some(14)),
            ("-0.125", 2, Some(-12)),
            ("1e3", 2, Some(100_000)),
            ("1.5e-1", 6, Some(150_000)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("9223372036854775808", 0, None),
            ("", 2, None),
            ("1.2.3", 2, None),
            ("5.", 2, None),
            (".5", 2, Some(50)),
            ("1e400", 2, None),
            ("0e400", 2, None),
        ] {
            assert_eq!(parse_scaled(text, digits), want.or(if text == "0e400" { Some(0) } else { None }), "{text}");
        }
    }

    #[test]
    fn amounts_print_with_the_currency_s_digits() {
        let yen = Currency::parse("JPY").expect("code");
        assert_eq!(Money { minor: 8990, currency: Currency::EUR }.to_string(), "89.90 EUR");
        assert_eq!(Money { minor: -5, currency: Currency::EUR }.to_string(), "-0.05 EUR");
        assert_eq!(Money { minor: 500, currency: yen }.to_string(), "500 JPY");
    }
}
