//! One line of the result: what was measured, on our side and on the rival's.

/// What one line says.
#[derive(Debug)]
pub struct Row {
    /// What was measured, and of what it is the median.
    pub what: String,
    /// Ours, one value for each run.
    pub ours: Vec<f64>,
    /// The rival's, measured in the same run, turn by turn with ours; none where nobody else does
    /// this at all.
    pub rival: Vec<f64>,
    /// Who the rival is.
    pub rival_name: String,
    /// How to write a value.
    pub unit: Unit,
    /// What is to be reached.
    pub target: Target,
    /// A condition that has to hold besides: what is wrong, if something is.
    pub wrong: Option<String>,
}

/// How to write a value.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Given in seconds.
    Seconds,
    /// Given in seconds, written in milliseconds.
    Milliseconds,
    /// Given in bytes, written in MiB.
    Mebibytes,
    /// Given as a part of one core, written in percent.
    Core,
    /// A plain number.
    Count,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// At most this many times the rival's value.
    Ratio(f64),
    /// Less than the rival's value.
    Less,
    /// At most this value, whatever the rival's is.
    AtMost(f64),
    /// At most this much above the rival's value.
    More(f64),
}

impl Row {
    /// Our median over the rival's.
    pub fn ratio(&self) -> f64 {
        median(&self.ours) / median(&self.rival)
    }

    /// Whether the target is reached.
    pub fn is_reached(&self) -> bool {
        self.wrong.is_none()
            && match self.target {
                Target::Ratio(most) => self.ratio() <= most,
                Target::Less => self.ratio() < 1.0,
                Target::AtMost(most) => median(&self.ours) <= most,
                Target::More(more) => median(&self.ours) <= median(&self.rival) + more,
            }
    }

    /// The cells of the table: what, ours, rival's, ratio, target, verdict.
    pub fn cells(&self) -> [String; 6] {
        let verdict = match &self.wrong {
            Some(wrong) => format!("short: {wrong}"),
            None if self.is_reached() => "reached".to_owned(),
            None => "short".to_owned(),
        };
        let (rival, ratio) = match &self.rival[..] {
            [] => ("none".to_owned(), String::new()),
            values => (
                format!("{} ({})", self.unit.write(median(values)), self.rival_name),
                format!("{:.2}", self.ratio()),
            ),
        };
        [
            self.what.clone(),
            self.unit.write(median(&self.ours)),
            rival,
            ratio,
            self.target.write(self.unit),
            verdict,
        ]
    }
}

impl Unit {
    /// The value with its unit.
    pub fn write(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.2} s"),
            Self::Milliseconds => format!("{:.2} ms", value * 1e3),
            Self::Mebibytes => format!("{:.2} MiB", value / 1024.0 / 1024.0),
            Self::Core => format!("{:.3} % of a core", value * 100.0),
            Self::Count => format!("{value:.2}"),
        }
    }
}

impl Target {
    fn write(self, unit: Unit) -> String {
        match self {
            Self::Ratio(most) => format!("ratio {most:.2} or less"),
            Self::Less => "ratio below 1.00".to_owned(),
            Self::AtMost(most) => format!("{} or less", unit.write(most)),
            Self::More(more) => format!("the rival's and {} at most", unit.write(more)),
        }
    }
}

/// The middle value; the mean of the two middle ones where their number is even.
///
/// # Panics
/// When there is no value.
pub fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "something was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}
