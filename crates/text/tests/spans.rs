//! Offsets in code points, bytes and UTF-16 units.

use proptest::prelude::*;
use text::spans::CodePoints;

#[test]
fn units_of_a_mixed_text() {
    let text = "aé中😀!";
    let points = CodePoints::new(text);
    assert_eq!((points.len(), points.is_empty()), (5, false));
    assert_eq!((0..=6).map(|i| points.to_byte(i)).collect::<Vec<_>>(), [Some(0), Some(1), Some(3), Some(6), Some(10), Some(11), None]);
    assert_eq!((0..=6).map(|i| points.to_utf16(i)).collect::<Vec<_>>(), [Some(0), Some(1), Some(2), Some(3), Some(5), Some(6), None]);
    // Inside a character, or inside a surrogate pair: no code point begins there.
    assert_eq!((points.from_byte(2), points.from_byte(7), points.from_byte(12)), (None, None, None));
    assert_eq!((points.from_utf16(4), points.from_utf16(5), points.from_utf16(7)), (None, Some(4), None));
    assert_eq!(points.slice(&(1..4)), Some("é中😀"));
    assert_eq!((points.slice(&(3..6)), points.byte_range(&std::ops::Range { start: 3, end: 2 })), (None, None));
    assert_eq!((points.point_range(&(3..10)), points.point_range(&(3..9))), (Some(2..4), None));
}

#[test]
fn empty_and_ascii() {
    let empty = CodePoints::new("");
    assert_eq!(
        (empty.len(), empty.to_byte(0), empty.to_byte(1), empty.from_utf16(0), empty.from_utf16(1)),
        (0, Some(0), None, Some(0), None)
    );
    let ascii = CodePoints::new("abc");
    assert_eq!((ascii.len(), ascii.from_byte(3), ascii.from_byte(4), ascii.slice(&(1..3))), (3, Some(3), None, Some("bc")));
}

proptest! {
    /// Every code point border converts to bytes and UTF-16 and back; every other offset is refused.
    #[test]
    fn borders_and_nothing_else(text in "(\\PC|[a-z]|[一-三]|😀){0,24}") {
        let points = CodePoints::new(&text);
        prop_assert_eq!(points.len(), text.chars().count());
        let borders: Vec<usize> = (0..=points.len()).map(|i| points.to_byte(i).unwrap()).collect();
        for byte in 0..=text.len() + 1 {
            prop_assert_eq!(points.from_byte(byte), borders.iter().position(|&b| b == byte));
        }
        let units: Vec<usize> = (0..=points.len()).map(|i| points.to_utf16(i).unwrap()).collect();
        prop_assert_eq!(*units.last().unwrap(), text.encode_utf16().count());
        for unit in 0..=units.last().unwrap() + 1 {
            prop_assert_eq!(points.from_utf16(unit), units.iter().position(|&u| u == unit));
        }
    }
}
