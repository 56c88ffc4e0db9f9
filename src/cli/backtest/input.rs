//! The records of one file in memory: native NDJSON as it stands, rows of other systems mapped to it; packed files are unpacked.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::replay::DeadLetters;
use crate::cli::Failure;
use crate::model::{Catalogue, DeadLetterReason};
use crate::time::Timestamp;
use crate::wire::mapping::{Delimiter, Mapped, Mapper, Mapping, Row, RowFormat};
use crate::wire::row;

/// Everything that was read.
pub(in crate::cli) struct Input {
    /// As the source of a change's cause.
    pub(super) name: String,
    bytes: Vec<u8>,
    /// By arrival, ties as they stand.
    pub(super) lines: Vec<Line>,
    /// Rows that the mapping leaves out.
    pub(super) left_out: u64,
    pub(super) unreadable: u64,
    pub(super) after_end: u64,
}

/// One record of the input.
pub(super) struct Line {
    pub(super) arrival: Timestamp,
    start: usize,
    len: u32,
    /// The line's number, from 1; of the further records of a line see [`line_of`].
    pub(super) offset: i64,
}

/// Records of one line count in the bits from here on.
const RECORD_SHIFT: u32 = 40;

/// The line, as an editor counts, of a record's offset.
pub(super) fn line_of(offset: i64) -> usize {
    (offset & ((1 << RECORD_SHIFT) - 1)) as usize
}

impl Input {
    /// Reads a file, or standard input for `-`, up to the arrival `until`, and sorts it.
    ///
    /// **Errors:** a file that cannot be read, or that the mapping does not fit. **Cost:** holds the native records of all rows.
    pub(in crate::cli) fn read(
        path: &Path,
        mapping: Option<&Mapping>,
        catalogue: &Catalogue,
        until: Option<Timestamp>,
        dead_letters: &mut DeadLetters,
    ) -> Result<Input, Failure> {
        let (name, bytes) = content(path)?;
        let mut input = Input { name, bytes: Vec::new(), lines: Vec::new(), left_out: 0, unreadable: 0, after_end: 0 };
        match mapping {
            None => input.native(bytes, dead_letters)?,
            Some(mapping) => input.mapped(&bytes, mapping, catalogue, dead_letters)?,
        }
        input.lines.sort_by_key(|l| l.arrival);
        if let Some(until) = until {
            let kept = input.lines.partition_point(|l| l.arrival <= until);
            input.after_end = (input.lines.len() - kept) as u64;
            input.lines.truncate(kept);
        }
        Ok(input)
    }

    /// Of the records in time; `None`: there is none.
    pub(in crate::cli) fn last_arrival(&self) -> Option<Timestamp> {
        self.lines.last().map(|l| l.arrival)
    }

    pub(super) fn bytes_of(&self, line: &Line) -> &[u8] {
        &self.bytes[line.start..line.start + line.len as usize]
    }

    /// Finds the lines and their arrivals; those without one are unreadable (R62).
    fn native(&mut self, text: Vec<u8>, dead_letters: &mut DeadLetters) -> Result<(), Failure> {
        for (number, bytes) in row::lines(&text) {
            match row::arrival(bytes) {
                Ok(arrival) => {
                    let start = bytes.as_ptr() as usize - text.as_ptr() as usize;
                    // A longer line has no arrival.
                    self.lines.push(Line { arrival, start, len: bytes.len() as u32, offset: number as i64 });
                }
                Err(why) => self.refuse(number, &why, dead_letters),
            }
        }
        self.bytes = text;
        Ok(())
    }

    fn mapped(&mut self, text: &[u8], mapping: &Mapping, catalogue: &Catalogue, dead_letters: &mut DeadLetters) -> Result<(), Failure> {
        let format = format_of(mapping, &self.name)?;
        if format == RowFormat::Ndjson {
            let mapper = Mapper::new(mapping, format, catalogue, &[]).map_err(Failure::usage)?;
            for (number, line) in row::lines(text) {
                let line: Value = match serde_json::from_slice(line) {
                    Ok(line) => line,
                    Err(e) => {
                        self.refuse(number, &format!("no JSON: {e}"), dead_letters);
                        continue;
                    }
                };
                match mapper.rows(&line) {
                    Ok(rows) => {
                        let mut records = 0;
                        for row in rows {
                            self.push(mapper.map(row), number, &mut records, dead_letters);
                        }
                    }
                    Err(why) => self.refuse(number, &why, dead_letters),
                }
            }
            return Ok(());
        }
        let by_name = if plain_name(&self.name).ends_with(".tsv") { b'\t' } else { b',' };
        let mut cells = match mapping.delimiter.unwrap_or(Delimiter::Byte(by_name)) {
            Delimiter::Blanks => Cells::Blanks(Box::new(row::lines(text))),
            Delimiter::Byte(delimiter) => Cells::Csv(
                Box::new(csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text)),
                csv::ByteRecord::new(),
            ),
        };
        let mut columns = mapping.columns.clone();
        if columns.is_empty() {
            match cells.next() {
                Some((_, Ok(head))) => columns = head.iter().map(|c| c.trim_start_matches('\u{feff}').trim().to_string()).collect(),
                Some((number, Err(why))) => return Err(Failure::usage(anyhow!("{}:{number}: {why}", self.name))),
                None => return Err(Failure::usage(anyhow!("{} is empty; its first line names the columns", self.name))),
            }
        }
        let mapper = Mapper::new(mapping, format, catalogue, &columns).map_err(Failure::usage)?;
        while let Some((number, row)) = cells.next() {
            let mapped = match row {
                Ok(cells) if cells.len() == columns.len() => mapper.map(Row::Cells(&cells)),
                Ok(cells) => Err(format!("{} cells for {} columns", cells.len(), columns.len())),
                Err(why) => Err(why),
            };
            self.push(mapped, number, &mut 0, dead_letters);
        }
        Ok(())
    }

    fn push(&mut self, mapped: Result<Option<Mapped>, String>, number: usize, records: &mut i64, dead_letters: &mut DeadLetters) {
        match mapped {
            Ok(None) => self.left_out += 1,
            Err(why) => self.refuse(number, &why, dead_letters),
            Ok(Some(mapped)) => {
                for record in mapped.records {
                    let offset = number as i64 | *records << RECORD_SHIFT;
                    *records += 1;
                    // As long as a row of a file that was read whole; its lengths add up far below.
                    self.lines.push(Line { arrival: mapped.arrival, start: self.bytes.len(), len: record.len() as u32, offset });
                    self.bytes.extend_from_slice(&record);
                }
            }
        }
    }

    fn refuse(&mut self, number: usize, why: &str, dead_letters: &mut DeadLetters) {
        self.unreadable += 1;
        dead_letters.add(DeadLetterReason::Unreadable, number, why);
    }
}

/// Rows of a CSV file.
enum Cells<'a> {
    Csv(Box<csv::Reader<&'a [u8]>>, csv::ByteRecord),
    Blanks(Box<dyn Iterator<Item = (usize, &'a [u8])> + 'a>),
}

impl Cells<'_> {
    /// The next row with its line, or why it cannot be read.
    fn next(&mut self) -> Option<(usize, Result<Vec<&str>, String>)> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|e| format!("no UTF-8 at byte {}", e.valid_up_to()));
        match self {
            Cells::Blanks(lines) => {
                let (number, line) = lines.next()?;
                Some((number, text(line).map(|line| line.split_ascii_whitespace().collect())))
            }
            Cells::Csv(reader, record) => {
                let more = reader.read_byte_record(record);
                // Reading from memory does not fail, and rows may have any length.
                let line = record.position().map_or(0, csv::Position::line) as usize;
                match more {
                    Ok(false) => None,
                    Ok(true) => Some((line, record.iter().map(text).collect())),
                    Err(e) => Some((line, Err(e.to_string()))),
                }
            }
        }
    }
}

/// The name without that of the packing.
fn plain_name(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}

fn format_of(mapping: &Mapping, name: &str) -> Result<RowFormat, Failure> {
    let ends = |endings: &[&str]| endings.iter().any(|e| plain_name(name).ends_with(e));
    match mapping.format {
        Some(format) => Ok(format),
        None if ends(&[".csv", ".tsv"]) => Ok(RowFormat::Csv),
        None if ends(&[".ndjson", ".jsonl", ".json"]) => Ok(RowFormat::Ndjson),
        None => {
            let why = "is neither .csv nor .ndjson by its name; say format = \"csv\" or \"ndjson\" in [mapping]";
            Err(Failure::usage(anyhow!("{name} {why}")))
        }
    }
}

/// What a file holds, unpacked, and its name.
fn content(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    let shown = path.display().to_string();
    let name = if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input").map_err(Failure::environment)?;
        "stdin".into()
    } else {
        if path.is_dir() {
            return Err(Failure::usage(anyhow!("{shown} is a folder; events are read from one file, or - for standard input")));
        }
        let mut file = File::open(path).with_context(|| format!("cannot read {shown}")).map_err(Failure::usage)?;
        file.read_to_end(&mut bytes).with_context(|| format!("cannot read {shown}")).map_err(Failure::usage)?;
        path.file_name().map_or_else(|| shown.clone(), |n| n.to_string_lossy().into_owned())
    };
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked);
        read.with_context(|| format!("cannot unpack {shown}")).map_err(Failure::usage)?;
        bytes = unpacked;
    }
    Ok((name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Input {
        Input { name: "a.csv".into(), bytes: Vec::new(), lines: Vec::new(), left_out: 0, unreadable: 0, after_end: 0 }
    }

    #[test]
    fn lines_are_placed_by_arrival_and_those_without_one_are_unreadable() {
        let text = b"{\"ts\":\"2026-01-01T00:00:02Z\"}\n\n{\"ts\":\"2026-01-01T00:00:05Z\",\"arrival\":\"2026-01-01T00:00:01Z\"}\n{\"customer\":\"c\"}\n{\"ts\":null,\"arrival\":\"2026-01-01T00:00:03Z\"}\nnoise";
        let mut dead_letters = DeadLetters::default();
        let mut input = empty();
        input.native(text.to_vec(), &mut dead_letters).unwrap_or_else(|_| panic!("reads"));
        input.lines.sort_by_key(|l| l.arrival);
        assert_eq!(input.lines.iter().map(|l| line_of(l.offset)).collect::<Vec<_>>(), [3, 1, 5]);
        assert!(input.bytes_of(&input.lines[1]).ends_with(b"02Z\"}"));
        let (n, first, _) = dead_letters.of(DeadLetterReason::Unreadable).expect("some");
        assert_eq!((*n, *first), (2, 4));
    }

    #[test]
    fn the_records_of_a_line_have_offsets_of_their_own() {
        let mut input = empty();
        let mut records = 0;
        for _ in 0..2 {
            let mapped = Mapped { records: vec![b"{}".to_vec(), b"{ }".to_vec()], arrival: Timestamp(1) };
            input.push(Ok(Some(mapped)), 7, &mut records, &mut DeadLetters::default());
        }
        let offsets: Vec<i64> = input.lines.iter().map(|l| l.offset).collect();
        assert_eq!(offsets[0], 7);
        assert!(offsets.is_sorted() && offsets.iter().all(|o| line_of(*o) == 7));
        assert_eq!(input.bytes_of(&input.lines[3]), b"{ }");
    }
}
