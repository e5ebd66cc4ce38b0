//! TensorBoard's event files, written by hand: three messages of protobuf in TFRecord frames.
//!
//! A file is a sequence of records (tensorflow/core/lib/io/record_writer.h): length as u64, masked CRC-32C of those eight
//! bytes, the data, masked CRC-32C of the data, all little-endian. The data is a `tensorflow.Event`
//! (tensorflow/core/util/event.proto) of which four fields are used. Only bytes are made here; [`crate::save`] writes them.

/// The first record of every file.
pub fn version_record(unix_time: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, unix_time);
    event.bytes(3, b"brain.Event:2");
    record(&event.0)
}

/// A record with scalars of one step: (tag, value).
pub fn scalars_record(unix_time: f64, step: u64, scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Message::default();
    for (tag, value) in scalars {
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes());
        entry.float(2, *value as f32);
        summary.bytes(1, &entry.0);
    }
    let mut event = Message::default();
    event.double(1, unix_time);
    event.varint_field(2, step);
    event.bytes(5, &summary.0);
    record(&event.0)
}

/// A protobuf message under construction (protobuf's encoding guide: a key is field number * 8 + wire type).
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint_field(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }
}

/// Puts data into a TFRecord frame.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut frame = Vec::with_capacity(data.len() + 16);
    frame.extend(length);
    frame.extend(masked_crc(&length).to_le_bytes());
    frame.extend(data);
    frame.extend(masked_crc(data).to_le_bytes());
    frame
}

/// TFRecord's rotation of the checksum, so that a checksum of data with embedded checksums stays meaningful.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), bit by bit: a few hundred bytes a log line need no table.
fn crc32c(data: &[u8]) -> u32 {
    let step = |mut crc: u32, byte: &u8| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
        crc
    };
    !data.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string() {
        // RFC 3720 appendix B.4 and the catalogue's check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn equal_to_what_tensorboard_writes() {
        // oracles/tensorboard_events.py: the file that Python's `tensorboard` package writes for the same scalars.
        let mut bytes = version_record(1_700_000_000.25);
        bytes.extend(scalars_record(1_700_000_001.5, 1, &[("train/loss".into(), 0.7), ("train/learning_rate".into(), 2e-4)]));
        bytes.extend(scalars_record(1_700_000_002.75, 300, &[("eval/准确率".into(), 0.875)]));
        assert_eq!(bytes, include_bytes!("../tests/data/events.bin"));
    }
}
