//! The log: human lines or JSON, on standard error or into a small buffer that the demo's view shows.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How the log looks and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// Directives of tracing's `EnvFilter`: `info`, `segmentd=debug,warn`.
    pub filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::Human, filter: "info".into() }
    }
}

/// The log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Configuration.
    #[error("log.filter {filter:?}: {detail}")]
    Filter { filter: String, detail: String },
    /// A second subscriber in one process; our own bug or a test's.
    #[error("the log is already started")]
    Started,
}

/// The newest lines of the log, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<(VecDeque<String>, u64)>>);

/// Most lines that [`Lines`] keeps.
const LINES_MAX: usize = 64;

impl Lines {
    pub fn newest(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.back().cloned()
    }

    /// Lines so far, those that are gone included.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// All lines, for whoever wants to print them at the end.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.iter().cloned().collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, count) = &mut *guard;
        for line in String::from_utf8_lossy(bytes).lines().filter(|l| !l.trim().is_empty()) {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line.to_string());
            *count += 1;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;
    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// Starts the log on standard error: data belong to standard output.
///
/// **Errors:** a filter that cannot be read; a log that is already started.
pub fn start(settings: &Log) -> Result<(), Error> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(settings)?).with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Human => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|_| Error::Started)
}

/// Starts the log into a buffer, short lines without instants: for a program that owns the terminal.
///
/// **Errors:** as [`start`].
pub fn start_into(settings: &Log, lines: &Lines) -> Result<(), Error> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(settings)?).with_writer(lines.clone());
    builder.with_ansi(false).without_time().with_target(false).try_init().map_err(|_| Error::Started)
}

fn filter(settings: &Log) -> Result<EnvFilter, Error> {
    EnvFilter::builder()
        .parse(&settings.filter)
        .map_err(|e| Error::Filter { filter: settings.filter.clone(), detail: e.to_string().to_lowercase() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_keeps_the_newest_lines() {
        let mut lines = Lines::default();
        for i in 0..LINES_MAX + 3 {
            lines.write_all(format!("line {i}\n").as_bytes()).expect("memory");
        }
        assert_eq!(lines.all().len(), LINES_MAX);
        assert_eq!((lines.newest().as_deref(), lines.count()), (Some("line 66"), LINES_MAX as u64 + 3));
        assert_eq!(lines.all()[0], "line 3");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        let error = filter(&Log { filter: "segmentd=loud".into(), ..Log::default() }).expect_err("no such level");
        assert!(error.to_string().contains("segmentd=loud"), "{error}");
    }
}
