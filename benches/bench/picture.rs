//! Draws what writers saw over time, as an SVG: one strip for each shard, one panel for each side.

use std::fmt::Write;
use std::time::Duration;

/// One side of the comparison.
pub struct Panel<'a> {
    /// Its name.
    pub name: &'a str,
    /// What happened on it.
    pub course: &'a Course,
}

/// What happened, in times since the start.
pub struct Course {
    /// When each write was acknowledged, for each shard.
    pub shards: Vec<Vec<Duration>>,
    /// Which pod was told to stop, and when.
    pub stops: Vec<(String, Duration)>,
    /// The end of it all.
    pub end: Duration,
}

/// The width of one column of a strip, in seconds.
const BIN_S: f64 = 0.5;
/// Gaps from this length on are written into the picture.
const GAP_S: f64 = 1.0;

// All in pixels.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const STRIP: f64 = 56.0;
const BETWEEN: f64 = 10.0;
const HEAD: f64 = 60.0;
const PANEL_HEAD: f64 = 44.0;
const FOOT: f64 = 44.0;

/// One colour for each panel, which also those tell apart who see few.
const COLORS: [&str; 2] = ["#2a78d6", "#eb6834"];

/// The whole picture.
pub fn draw(panels: &[Panel<'_>]) -> String {
    let end = panels.iter().map(|panel| panel.course.end.as_secs_f64()).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / end;
    let height =
        |panel: &Panel<'_>| PANEL_HEAD + panel.course.shards.len() as f64 * (STRIP + BETWEEN);
    let total = HEAD + panels.iter().map(height).sum::<f64>() + FOOT;
    let mut svg = String::new();
    push(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {total}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"{WIDTH}\" height=\"{total}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"17\" font-weight=\"600\">A rolling restart of six \
         pods, each made again after 20 s at a new address</text>\n\
         <text x=\"{LEFT}\" y=\"46\" fill=\"#666\">writes acknowledged over time, one strip for each \
         shard; the lines are the moments at which a pod is told to stop</text>"
        ),
    );
    let mut top = HEAD;
    for (panel, color) in panels.iter().zip(COLORS) {
        draw_panel(&mut svg, panel, color, top, scale);
        top += height(panel);
    }
    draw_axis(&mut svg, top, end, scale);
    svg + "</svg>\n"
}

fn draw_panel(svg: &mut String, panel: &Panel<'_>, color: &str, top: f64, scale: f64) {
    let course = panel.course;
    let strips = top + PANEL_HEAD;
    let bottom = strips + course.shards.len() as f64 * (STRIP + BETWEEN) - BETWEEN;
    let base = top + 20.0;
    push(
        svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{base}\" font-size=\"15\" font-weight=\"600\" \
         fill=\"{color}\">{}</text>",
            panel.name
        ),
    );
    for (pod, at) in &course.stops {
        let x = LEFT + at.as_secs_f64() * scale;
        let text = strips - 6.0;
        push(
            svg,
            format_args!(
                "<path d=\"M{x:.1} {strips}V{bottom}\" stroke=\"#bbb\" stroke-dasharray=\"2 2\"/>\
             <text x=\"{x:.1}\" y=\"{text}\" font-size=\"10\" fill=\"#666\">{pod}</text>"
            ),
        );
    }
    for (shard, times) in course.shards.iter().enumerate() {
        let floor = strips + shard as f64 * (STRIP + BETWEEN) + STRIP;
        let middle = floor - STRIP / 2.0 + 4.0;
        push(
            svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{middle}\" text-anchor=\"end\">shard {shard}</text>",
                LEFT - 8.0
            ),
        );
        let area = area(times, course.end, floor, scale);
        push(
            svg,
            format_args!(
                "<path d=\"{area}\" fill=\"{color}\" fill-opacity=\"0.75\"/>\
             <path d=\"M{LEFT} {floor}h{:.1}\" stroke=\"#ccc\"/>",
                course.end.as_secs_f64() * scale
            ),
        );
        for (from, length) in gaps(times) {
            let x = LEFT + (from + length / 2.0) * scale;
            push(
                svg,
                format_args!(
                    "<text x=\"{x:.1}\" y=\"{middle}\" text-anchor=\"middle\">{length:.1} s</text>"
                ),
            );
        }
    }
}

fn draw_axis(svg: &mut String, top: f64, end: f64, scale: f64) {
    let (tick, text) = (top + 5.0, top + 20.0);
    let step = 20.0;
    let mut at = 0.0;
    while at <= end {
        let x = LEFT + at * scale;
        push(
            svg,
            format_args!(
                "<path d=\"M{x:.1} {top}V{tick}\" stroke=\"#999\"/>\
             <text x=\"{x:.1}\" y=\"{text}\" text-anchor=\"middle\" fill=\"#666\">{at:.0} s</text>"
            ),
        );
        at += step;
    }
}

/// The outline of the rate over time; the highest rate fills the strip.
fn area(times: &[Duration], end: Duration, floor: f64, scale: f64) -> String {
    let mut bins = vec![0_u32; (end.as_secs_f64() / BIN_S) as usize + 1];
    for time in times {
        let bin = (time.as_secs_f64() / BIN_S) as usize;
        if let Some(bin) = bins.get_mut(bin) {
            *bin += 1;
        }
    }
    let highest = f64::from(bins.iter().copied().max().unwrap_or(1).max(1));
    let mut path = format!("M{LEFT} {floor}");
    for count in &bins[..bins.len() - 1] {
        let y = floor - f64::from(*count) / highest * (STRIP - 4.0);
        let _ = write!(path, "V{y:.1}h{:.2}", BIN_S * scale);
    }
    path + &format!("V{floor}Z")
}

/// Start and length, in seconds, of the times without a write that are long enough to be written.
fn gaps(times: &[Duration]) -> impl Iterator<Item = (f64, f64)> {
    times
        .windows(2)
        .map(|pair| (pair[0].as_secs_f64(), (pair[1] - pair[0]).as_secs_f64()))
        .filter(|(_, length)| *length >= GAP_S)
}

fn push(svg: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(svg, "{line}").expect("a string takes everything");
}
