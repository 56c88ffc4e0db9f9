//! Places on a sphere of the earth's mean radius and the distance between them (LANGUAGE.md R57), the same bits on every machine.
//!
//! A place is a point of the unit sphere; two are within a distance of each other if the chord between them is not longer than that of the
//! distance. That is the haversine formula without its inverse: `chord / 2 = sin(distance / 2 R)`. Sine and cosine are series of our own,
//! in additions and multiplications only, which IEEE 754 fixes; the platform's mathematics is not asked. The error is below a millimetre.

/// Mean radius of the earth. **Units:** metres.
pub const EARTH_RADIUS: f64 = 6_371_008.8;

/// Everything within a distance of a place, the edge included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle {
    centre: [f64; 3],
    /// The square of the longest chord; 4 is the whole sphere.
    chord: f64,
}

impl Circle {
    /// **Units:** degrees and metres.
    pub fn new(lat: f64, lon: f64, metres: f64) -> Circle {
        // Half the angle between centre and edge; beyond a quarter turn everything is inside.
        let half = metres / (2.0 * EARTH_RADIUS);
        let chord = if half >= std::f64::consts::FRAC_PI_2 {
            4.0
        } else {
            let (sin, _) = sin_cos(half / DEGREE);
            4.0 * sin * sin
        };
        Circle { centre: unit_vector(lat, lon), chord }
    }

    /// Whether a place is inside. **Units:** degrees.
    ///
    /// **Cost:** four series of nine terms; no allocation.
    pub fn contains(&self, lat: f64, lon: f64) -> bool {
        if self.chord >= 4.0 {
            return true;
        }
        let [x, y, z] = unit_vector(lat, lon);
        let [a, b, c] = self.centre;
        let (x, y, z) = (x - a, y - b, z - c);
        x * x + y * y + z * z <= self.chord
    }
}

/// One degree. **Units:** radians.
const DEGREE: f64 = std::f64::consts::PI / 180.0;

fn unit_vector(lat: f64, lon: f64) -> [f64; 3] {
    let ((sin_lat, cos_lat), (sin_lon, cos_lon)) = (sin_cos(lat), sin_cos(lon));
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
}

/// Sine and cosine of an angle from -180 to 180 degrees.
fn sin_cos(degrees: f64) -> (f64, f64) {
    let size = degrees.abs();
    // What is left is at most an eighth of a turn; the subtractions are exact (both numbers lie within a factor of two of each other).
    let (sin, cos) = if size <= 45.0 {
        series(size)
    } else if size <= 135.0 {
        let (sin, cos) = series(size - 90.0);
        (cos, -sin)
    } else {
        let (sin, cos) = series(size - 180.0);
        (-sin, -cos)
    };
    (if degrees < 0.0 { -sin } else { sin }, cos)
}

/// The same of an angle of at most 45 degrees, whose terms fall below 1e-18.
fn series(degrees: f64) -> (f64, f64) {
    let x = degrees * DEGREE;
    let square = x * x;
    let (mut sin, mut cos) = (1.0, 1.0);
    for k in (1..10).rev() {
        let n = f64::from(2 * k);
        cos = 1.0 - cos * square / (n * (n - 1.0));
        sin = 1.0 - sin * square / (n * (n + 1.0));
    }
    (x * sin, cos)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The platform's mathematics is a witness here, never a source.
    fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
        let [lat_a, lon_a, lat_b, lon_b] = [a.0, a.1, b.0, b.1].map(f64::to_radians);
        let (u, v) = (((lat_b - lat_a) / 2.0).sin(), ((lon_b - lon_a) / 2.0).sin());
        2.0 * EARTH_RADIUS * (u * u + lat_a.cos() * lat_b.cos() * v * v).sqrt().min(1.0).asin()
    }

    #[test]
    fn sines_and_cosines_agree_with_the_platform_s() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..100_000 {
            let x = rng.f64() * 360.0 - 180.0;
            let (sin, cos) = sin_cos(x);
            assert!((sin - x.to_radians().sin()).abs() < 4e-16 && (cos - x.to_radians().cos()).abs() < 4e-16, "{x}: {sin} {cos}");
        }
        for (x, want) in [(0.0, (0.0, 1.0)), (90.0, (1.0, 0.0)), (-90.0, (-1.0, 0.0)), (180.0, (0.0, -1.0)), (-180.0, (0.0, -1.0))] {
            assert_eq!(sin_cos(x), want, "{x}");
        }
    }

    /// One degree of a great circle, a quarter of it, and the distance of two airports as tables give it for this sphere.
    #[test]
    fn known_distances() {
        let degree = EARTH_RADIUS * std::f64::consts::PI / 180.0;
        for (a, b, metres) in [
            ((0.0, 0.0), (0.0, 1.0), degree),
            ((10.0, 20.0), (11.0, 20.0), degree),
            ((0.0, 0.0), (90.0, 77.0), 90.0 * degree),
            ((0.0, 179.5), (0.0, -179.5), degree),
            ((90.0, 13.0), (90.0, -140.0), 0.0),
            ((36.12, -86.67), (33.94, -118.40), 2_886_448.4),
        ] {
            for (from, to) in [(a, b), (b, a)] {
                assert!(Circle::new(from.0, from.1, metres + 0.1).contains(to.0, to.1), "{from:?} {to:?}");
                assert!(metres == 0.0 || !Circle::new(from.0, from.1, metres - 0.1).contains(to.0, to.1), "{from:?} {to:?}");
            }
        }
        assert!(Circle::new(59.334, 18.063, 0.0).contains(59.334, 18.063));
        assert!(Circle::new(0.0, 0.0, 20_100_000.0).contains(0.0, 180.0));
        assert!(!Circle::new(0.0, 0.0, 20_000_000.0).contains(0.0, 180.0));
    }

    #[test]
    fn the_edge_is_where_haversine_puts_it() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut place = || (rng.f64() * 180.0 - 90.0, rng.f64() * 360.0 - 180.0);
        for _ in 0..20_000 {
            let (a, b) = (place(), place());
            let metres = distance(a, b);
            // Near the antipode the witness's arcsine loses its digits.
            if metres > 19_000_000.0 {
                continue;
            }
            assert!(Circle::new(a.0, a.1, metres + 1e-3).contains(b.0, b.1), "{a:?} {b:?} {metres}");
            assert!(!Circle::new(a.0, a.1, metres - 1e-3).contains(b.0, b.1), "{a:?} {b:?} {metres}");
        }
    }

    /// The same bits on every machine: a journal written on one is replayed on another.
    #[test]
    fn the_bits_never_change() {
        let mut rng = fastrand::Rng::with_seed(1);
        let bits = (0..10_000).fold(0u64, |hash, _| {
            unit_vector(rng.f64() * 180.0 - 90.0, rng.f64() * 360.0 - 180.0)
                .into_iter()
                .fold(hash, |hash, x| hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ x.to_bits())
        });
        assert_eq!(bits, 453_349_729_905_988_485);
    }
}
