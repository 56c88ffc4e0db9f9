//! The demo's page on a terminal: numbers on top, a line per segment, the last changes with their reason.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Padding, Paragraph};

use super::super::grouped;
use super::stats::{Latencies, Seen, SegmentRow, Stats};

const ACCENT: Color = Color::Indexed(80);
const QUIET: Color = Color::Indexed(244);
const FRAME: Color = Color::Indexed(239);
const ENTERED: Color = Color::Indexed(114);
const EXITED: Color = Color::Indexed(210);
const TIMER: Color = Color::Indexed(222);
/// One for each segment, in turn.
const BARS: &[Color] = &[
    Color::Indexed(74),
    Color::Indexed(79),
    Color::Indexed(114),
    Color::Indexed(149),
    Color::Indexed(179),
    Color::Indexed(209),
    Color::Indexed(204),
    Color::Indexed(176),
    Color::Indexed(141),
    Color::Indexed(111),
];

/// What stands at the foot of the page.
#[derive(Clone, Debug, Default)]
pub(super) struct Foot {
    pub(super) paused: bool,
    /// The newest line of the log that is worth a look.
    pub(super) log: Option<String>,
}

/// Draws the whole page; whatever the size, it draws what fits.
///
/// `changes`: newest first; those of `stats`, or those that were held.
pub(super) fn draw(frame: &mut Frame<'_>, stats: &Stats, changes: &VecDeque<Seen>, foot: &Foot) {
    let area = frame.area();
    let segments = (stats.segments.len() as u16 + 3).min(area.height.saturating_sub(14).max(5));
    let [head, numbers, rows, list, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(segments),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, stats);
    draw_numbers(frame, numbers, stats);
    draw_segments(frame, rows, stats);
    draw_changes(frame, list, stats, changes);
    draw_foot(frame, bottom, foot);
}

fn block(title: &str) -> Block<'_> {
    Block::new()
        .borders(Borders::ALL)
        .border_type(BorderType::Rounded)
        .border_style(Style::new().fg(FRAME))
        .title(Span::styled(format!(" {title} "), Style::new().fg(ACCENT)))
        .padding(Padding::horizontal(1))
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
    let seconds = stats.elapsed().0 / 1_000;
    let left = Line::from(vec![
        Span::styled(" segmentd ", Style::new().fg(Color::Indexed(16)).bg(ACCENT).add_modifier(Modifier::BOLD)),
        Span::styled(format!("  {}", stats.title), Style::new().fg(QUIET)),
    ]);
    let right = Line::from(Span::styled(format!("{:02}:{:02} ", seconds / 60, seconds % 60), Style::new().fg(QUIET)));
    frame.render_widget(Paragraph::new(left), area);
    frame.render_widget(Paragraph::new(right).alignment(Alignment::Right), area);
}

fn draw_numbers(frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
    // On a narrow page the curves give way to the numbers.
    let (latencies, state) =
        if area.width >= 110 { (Constraint::Fill(6), Constraint::Fill(5)) } else { (Constraint::Length(27), Constraint::Length(21)) };
    let columns = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(5), latencies, state]).split(area);
    rate(frame, columns[0], "events", &stats.events_rate, stats.sample.events, ACCENT);
    rate(frame, columns[1], "changes", &stats.changes_rate, stats.sample.changes, ENTERED);
    let inner = block("from decision to reader");
    let name = (inner.inner(columns[2]).width as usize).saturating_sub(15).clamp(8, 14);
    let lines = vec![
        Line::from(Span::styled(format!("{:<name$}{:>7}{:>8}", "", "p50", "p99"), Style::new().fg(QUIET))),
        latency("by event", name, &stats.by_record, ACCENT),
        latency("by timer", name, &stats.by_timer, TIMER),
        Line::from(Span::styled("of the last 15 s", Style::new().fg(FRAME))),
    ];
    frame.render_widget(Paragraph::new(lines).block(inner), columns[2]);
    let s = &stats.sample;
    let inner = block("state in memory");
    let width = (inner.inner(columns[3]).width as usize).clamp(17, 24);
    let last = if s.dead_letters > 0 {
        ("dead letters", grouped(s.dead_letters), EXITED)
    } else {
        ("lag", grouped(s.lag), if s.lag > 10_000 { EXITED } else { Color::White })
    };
    let lines: Vec<Line<'_>> = [
        ("customers", grouped(s.customers), Color::White),
        ("timers armed", grouped(s.armed), Color::White),
        ("memory", format!("{:.1} MB", s.state_bytes as f64 / 1e6), Color::White),
        last,
    ]
    .into_iter()
    .map(|(name, value, colour)| pair(name, value, width, colour))
    .collect();
    frame.render_widget(Paragraph::new(lines).block(inner), columns[3]);
}

fn rate(frame: &mut Frame<'_>, area: Rect, title: &str, rates: &VecDeque<u64>, total: u64, colour: Color) {
    let inner = block(title);
    let space = inner.inner(area);
    frame.render_widget(inner, area);
    let [number, curve] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(space);
    let head = Line::from(vec![
        Span::styled(grouped(Stats::smooth(rates)), Style::new().fg(Color::White).add_modifier(Modifier::BOLD)),
        Span::styled(" /s", Style::new().fg(QUIET)),
    ]);
    frame.render_widget(Paragraph::new(head), number);
    let all = grouped(total);
    if grouped(Stats::smooth(rates)).len() + 5 + all.len() <= number.width as usize {
        let all = Line::from(Span::styled(all, Style::new().fg(QUIET)));
        frame.render_widget(Paragraph::new(all).alignment(Alignment::Right), number);
    }
    let lines = curve_lines(rates, curve.width as usize, curve.height as usize);
    frame.render_widget(Paragraph::new(lines.into_iter().map(|l| Line::styled(l, Style::new().fg(colour))).collect::<Vec<_>>()), curve);
}

fn latency(text: &str, name: usize, latencies: &Latencies, colour: Color) -> Line<'static> {
    let text = Span::styled(format!("{text:<name$}"), Style::new().fg(colour));
    let shown = |ms: i64| if ms < 10_000 { format!("{ms} ms") } else { format!("{} s", ms / 1_000) };
    match latencies.p50_p99() {
        Some((p50, p99)) => Line::from(vec![
            text,
            Span::styled(format!("{:>7}", shown(p50)), Style::new().fg(Color::White).add_modifier(Modifier::BOLD)),
            Span::styled(format!("{:>8}", shown(p99)), Style::new().fg(Color::White)),
        ]),
        None => Line::from(vec![text, Span::styled(format!("{:>7}{:>8}", "-", "-"), Style::new().fg(QUIET))]),
    }
}

fn pair(name: &str, value: String, width: usize, colour: Color) -> Line<'static> {
    let gap = width.saturating_sub(name.chars().count() + value.chars().count());
    Line::from(vec![
        Span::styled(format!("{name}{}", " ".repeat(gap)), Style::new().fg(QUIET)),
        Span::styled(value, Style::new().fg(colour).add_modifier(Modifier::BOLD)),
    ])
}

fn draw_segments(frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
    let inner = block("segments");
    let space = inner.inner(area);
    frame.render_widget(inner, area);
    let width = space.width as usize;
    let title = stats.segments.iter().map(|s| s.title.chars().count()).max().unwrap_or(7).clamp(7, 26);
    // members, changes per minute, and gaps are fixed; the rest goes to bar and curve in equal parts.
    let fixed = title + 2 + 8 + 2 + 2 + 18;
    let free = width.saturating_sub(fixed);
    let (bar, curve) = (free / 2, free - free / 2);
    let most = stats.segments.iter().map(|s| s.members).max().unwrap_or(0).max(1);
    let mut lines = vec![Line::from(Span::styled(
        format!("{:<title$}  {:>8}  {:<bar$}  {:<curve$}{:>9}{:>9}", "", "members", "", "last minute", "entered", "exited"),
        Style::new().fg(QUIET),
    ))];
    for (i, row) in stats.segments.iter().enumerate().take(space.height.saturating_sub(1) as usize) {
        lines.push(segment(row, BARS[i % BARS.len()], title, bar, curve, most));
    }
    frame.render_widget(Paragraph::new(lines), space);
}

fn segment(row: &SegmentRow, colour: Color, title: usize, bar: usize, curve: usize, most: u64) -> Line<'static> {
    let name: String = row.title.chars().take(title).collect();
    let curve_text = curve_lines(&squeezed(&row.history, curve.saturating_sub(2)), curve.saturating_sub(2), 1).pop().unwrap_or_default();
    Line::from(vec![
        Span::styled(format!("{name:<title$}  "), Style::new().fg(Color::White)),
        Span::styled(format!("{:>8}  ", grouped(row.members)), Style::new().fg(Color::White).add_modifier(Modifier::BOLD)),
        Span::styled(format!("{:<bar$}  ", bar_text(row.members, most, bar)), Style::new().fg(colour)),
        Span::styled(format!("{curve_text:<curve$}"), Style::new().fg(colour).add_modifier(Modifier::DIM)),
        Span::styled(format!("{:>9}", format!("+{}", grouped(row.entered))), Style::new().fg(ENTERED)),
        Span::styled(format!("{:>9}", format!("-{}", grouped(row.exited))), Style::new().fg(EXITED)),
    ])
}

/// A bar in eighths of a character.
fn bar_text(value: u64, most: u64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (value as f64 / most as f64 * width as f64 * 8.0).round() as usize;
    let mut out = "█".repeat((eighths / 8).min(width));
    if eighths / 8 < width {
        out.push_str(PARTS[eighths % 8]);
    }
    if value > 0 && out.is_empty() {
        out.push('▏');
    }
    out
}

/// At most `width` values, each the mean of equally many.
fn squeezed(values: &VecDeque<u64>, width: usize) -> VecDeque<u64> {
    if values.len() <= width || width == 0 {
        return values.clone();
    }
    let mean = |i: usize| {
        let (from, to) = (i * values.len() / width, (i + 1) * values.len() / width);
        values.range(from..to).sum::<u64>() / (to - from) as u64
    };
    (0..width).map(mean).collect()
}

/// A filled curve of the newest values, `width` characters wide and `height` lines high, from top to bottom. From 0 to the greatest.
fn curve_lines(values: &VecDeque<u64>, width: usize, height: usize) -> Vec<String> {
    const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest: Vec<u64> = values.iter().rev().take(width).rev().copied().collect();
    let most = newest.iter().copied().max().unwrap_or(0).max(1);
    let levels = height * 8;
    let mut lines = vec![String::new(); height];
    for (i, line) in lines.iter_mut().enumerate() {
        let floor = (height - 1 - i) * 8;
        line.push_str(&" ".repeat(width - newest.len()));
        for value in &newest {
            let level = (*value as f64 / most as f64 * levels as f64).round() as usize;
            // Something is more than nothing.
            let level = if *value > 0 { level.max(1) } else { 0 };
            line.push(STEPS[level.saturating_sub(floor).min(8)]);
        }
    }
    lines
}

fn draw_changes(frame: &mut Frame<'_>, area: Rect, stats: &Stats, changes: &VecDeque<Seen>) {
    let inner = block("last changes, and why");
    let space = inner.inner(area);
    frame.render_widget(inner, area);
    let title = stats.segments.iter().map(|s| s.title.chars().count()).max().unwrap_or(7).clamp(7, 26);
    let lines: Vec<Line<'_>> = changes
        .iter()
        .take(space.height as usize)
        .map(|seen| {
            let row = stats.segments.iter().find(|s| s.name == seen.change.segment);
            change(seen, row.map_or(seen.change.segment.as_str(), |r| r.title.as_str()), title, space.width as usize)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), space);
}

fn change(seen: &Seen, name: &str, title: usize, width: usize) -> Line<'static> {
    let c = &seen.change;
    let (sign, colour) = match c.change.as_str() {
        "entered" => ("▲ in ", ENTERED),
        "exited" => ("▼ out", EXITED),
        _ => ("◆ now", ACCENT),
    };
    let time = c.since.to_string();
    // On a narrow page the reason matters more than the millisecond and the latency.
    let narrow = width < 100;
    let time = time.get(11..if narrow { 19 } else { 23 }).unwrap_or(&time).to_string();
    let name: String = name.chars().take(title).collect();
    let customer: String = c.customer.chars().take(10).collect();
    let latency = if narrow { String::new() } else { format!("{:>5} ms  ", seen.latency.0.min(99_999)) };
    let fixed = time.len() + 2 + 10 + 2 + 5 + 1 + title + 2 + 5 + 1 + latency.len();
    let room = width.saturating_sub(fixed);
    let mut reason: String = seen.reason();
    if reason.chars().count() > room {
        reason = reason.chars().take(room.saturating_sub(1)).chain(['…']).collect();
    }
    let cause = if seen.by_timer() { ("timer", TIMER) } else { ("event", ACCENT) };
    Line::from(vec![
        Span::styled(format!("{time}  "), Style::new().fg(QUIET)),
        Span::styled(format!("{customer:<10}  "), Style::new().fg(Color::Indexed(250))),
        Span::styled(format!("{sign} "), Style::new().fg(colour)),
        Span::styled(format!("{name:<title$}  "), Style::new().fg(Color::White)),
        Span::styled(format!("{:<5} ", cause.0), Style::new().fg(cause.1)),
        Span::styled(latency, Style::new().fg(QUIET)),
        Span::styled(reason, Style::new().fg(Color::Indexed(250))),
    ])
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, foot: &Foot) {
    let key = |k: &'static str| Span::styled(k, Style::new().fg(ACCENT).add_modifier(Modifier::BOLD));
    let word = |w: &'static str| Span::styled(w, Style::new().fg(QUIET));
    let mut spans =
        vec![Span::raw(" "), key("q"), word(" quit  "), key("space"), word(if foot.paused { " go on  " } else { " hold the list  " })];
    if let Some(log) = &foot.log {
        let room = (area.width as usize).saturating_sub(34);
        let text: String = log.chars().take(room).collect();
        spans.push(Span::styled(text, Style::new().fg(TIMER)));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::stats::Sample;
    use super::super::stats::tests::change as record;
    use super::*;
    use crate::time::Timestamp;

    fn page(width: u16, height: u16) -> String {
        let names =
            ["Browsing now", "High intent", "Serious cart", "Cart abandoned", "New buyer", "Inactive buyer", "Bronze", "Silver", "Gold"];
        let segments = names.iter().map(|n| (n.to_lowercase().replace(' ', "_"), n.to_string())).collect();
        let mut stats = Stats::new("embedded broker at 127.0.0.1:9092, 4 shards, seed 1".into(), Timestamp(0), segments);
        for i in 0..200u64 {
            let members = (0..names.len() as u64).map(|s| (i * (s + 1) * 7) % (900 / (s + 1)) + s).collect();
            let sample = Sample {
                events: i * 130,
                changes: i * 9,
                customers: 4_812,
                armed: 3_120,
                state_bytes: 900_000,
                members,
                ..Sample::default()
            };
            stats.sample(Timestamp(i as i64 * 250), sample);
            let cause = if i % 3 == 0 { "timer" } else { "event" };
            let kind = if i % 2 == 0 { "entered" } else { "exited" };
            let at = 50_000 + i as i64;
            stats.change(record("cart_abandoned", kind, cause, at, &format!("c-{i:06}")), Timestamp(at + 4 + (i as i64 % 30)));
        }
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
        terminal.draw(|frame| draw(frame, &stats, &stats.changes, &Foot::default())).expect("memory");
        let buffer = terminal.backend().buffer().clone();
        let row = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y) + "\n").collect()
    }

    #[test]
    fn the_page_shows_rates_latencies_members_and_reasons() {
        let page = page(120, 36);
        for want in [
            "520 /s",
            "4 812",
            "3 120",
            "by timer",
            "Cart abandoned",
            "▲ in",
            "▼ out",
            "cart.changed_at at least 10s ago (10s)",
            "c-000199",
            "q quit",
        ] {
            assert!(page.contains(want), "{want} is not on\n{page}");
        }
    }

    #[test]
    fn an_ordinary_terminal_shows_all_numbers() {
        let page = page(80, 24);
        for want in ["520 /s", "4 812", "3 120", "0.9 MB", "by timer", "p50", "p99", " ms ", "Cart abandoned", "q quit"] {
            assert!(page.contains(want), "{want} is not on\n{page}");
        }
    }

    #[test]
    fn any_size_can_be_drawn() {
        for (width, height) in [(1, 1), (20, 5), (40, 12), (80, 24), (300, 100)] {
            page(width, height);
        }
    }

    #[test]
    fn bars_and_curves_fill_their_width() {
        assert_eq!(bar_text(100, 100, 5), "█████");
        assert_eq!(bar_text(1, 1_000_000, 5), "▏");
        assert_eq!(bar_text(0, 10, 5), "");
        let lines = curve_lines(&VecDeque::from([0, 4, 8]), 5, 2);
        assert_eq!(lines, ["    █", "   ██"]);
    }
}
