//! The syntax tree: what was written, with places, nothing resolved.
//!
//! Owns only shapes. Every node that a message may point at has a span; names keep whether they were back-quoted.

use super::source::Span;
use crate::model::CartAction;
use crate::time::Timestamp;

/// `a`, or `` `Order Completed` ``.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Name {
    pub text: String,
    pub quoted: bool,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub kind: ItemKind,
    /// A message was given inside of it: its names count, but nothing else is concluded from it.
    pub broken: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum ItemKind {
    /// A declaration that could not be read beyond its name.
    Lost(Name),
    Let(Let),
    Segment(Segment),
    Score(Score),
    Points(Points),
    Stages(Stages),
    Workspace(Workspace),
    Event(Event),
    Trait(Property),
    Purpose {
        name: Name,
        default_granted: bool,
    },
    List(Name),
    Cart {
        rules: Vec<CartRule>,
        span: Span,
    },
}

impl ItemKind {
    /// Says what can occur, and is no definition.
    pub fn is_catalogue(&self) -> bool {
        use ItemKind::{Cart, Event, List, Purpose, Trait, Workspace};
        matches!(self, Workspace(_) | Event(_) | Trait(_) | Purpose { .. } | List(_) | Cart { .. })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Let {
    pub name: Name,
    pub value: LetValue,
}

#[derive(Clone, Debug)]
pub(crate) enum LetValue {
    Duration(Dur),
    Selector(Selector),
    /// Also a single name, which may turn out to be an event or another let.
    Expr(Expr),
}

/// A length of time, or the name of a let that holds one.
#[derive(Clone, Debug)]
pub(crate) enum Dur {
    /// **Units:** milliseconds. `None` was reported.
    Millis(Option<i64>, Span),
    Name(Name),
}

impl Dur {
    pub fn span(&self) -> Span {
        match self {
            Dur::Millis(_, span) => *span,
            Dur::Name(name) => name.span,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub kind: MetaKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum MetaKind {
    Name(String),
    Description(String),
    Owner(String),
    Tags(Vec<Name>),
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub name: Name,
    pub meta: Vec<Meta>,
    pub lets: Vec<Let>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub kind: RuleKind,
    /// Of the words that open it.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum RuleKind {
    When(Expr),
    ExitWhen(Expr),
    EnterAfter(Dur),
    ExitAfter(Dur),
    Stay(Dur),
    Cooldown(Dur),
    Expire(Dur),
    Settle(Dur),
    RequireConsent(Vec<Name>),
    Timezone(Timezone),
    Backfill(Backfill),
    Emit(Vec<Field>),
}

#[derive(Clone, Debug)]
pub(crate) enum Timezone {
    Customer,
    Workspace,
    Named(String, Span),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Backfill {
    State,
    Replay,
    None,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// `None`: the last word of the path, or `key`.
    pub name: Option<Name>,
    pub term: Term,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Score {
    pub name: Name,
    pub meta: Vec<Meta>,
    pub half_life: Option<Dur>,
    pub rules: Vec<ScoreRule>,
    pub cap: Option<Number>,
}

#[derive(Clone, Debug)]
pub(crate) struct ScoreRule {
    pub selector: Selector,
    /// `None`: resets.
    pub add: Option<Number>,
}

/// A plain number with its sign, as written.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    pub text: String,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Points {
    pub name: Name,
    pub meta: Vec<Meta>,
    pub rules: Vec<(Number, Expr)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stages {
    pub name: Name,
    pub meta: Vec<Meta>,
    pub stages: Vec<(Name, Expr)>,
    pub otherwise: Option<Name>,
}

#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub timezone: Option<(String, Span)>,
    pub currency: Option<Name>,
    pub session_gap: Option<Dur>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub name: Name,
    pub is_activity: bool,
    pub properties: Vec<Property>,
    pub retention: Option<Dur>,
    pub lateness: Option<Dur>,
    pub dedup: Option<Dur>,
}

#[derive(Clone, Debug)]
pub(crate) struct Property {
    pub name: Name,
    pub ty: Type,
    pub from: Option<(String, Span)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Type {
    Bool,
    Int,
    Decimal,
    Text,
    Instant(crate::model::InstantFormat),
    Date,
    Duration,
    Geo,
    /// `money`, `money in EUR`, `money in currency`.
    Money(Option<Name>),
    Enum(Vec<(String, Span)>),
    List(Box<Type>),
    Record(Vec<Property>),
}

#[derive(Clone, Debug)]
pub(crate) struct CartRule {
    pub action: CartAction,
    pub event: Name,
    pub lines: Option<Vec<Name>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// Boxed, since the parser hands expressions through many frames.
    pub kind: Box<ExprKind>,
    pub span: Span,
}

// Trees live for one compilation; boxing the rarer variants would only hide them.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Expr),
    Paren(Expr),
    HeldFor(Expr, Dur),
    Quantified {
        quantifier: Quantifier,
        of: Selector,
        per: Option<Vec<Name>>,
        range: Range,
    },
    EventIn {
        which: Which,
        of: Selector,
        window: Window,
    },
    Sequence {
        steps: Vec<Step>,
        all_within: Option<Dur>,
        per: Option<Vec<Name>>,
        window: Window,
    },
    Everyone,
    InSegment(Name),
    InList(Name),
    Crossed {
        entered: bool,
        segment: Name,
        window: Window,
    },
    Consent(Name),
    /// A term that stands alone: a boolean, or the name of a let.
    Bare(Term),
    Related {
        of: Term,
        relation: Relation,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quantifier {
    Any,
    No,
    AtLeast(u32),
    AtMost(u32),
    Exactly(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Which {
    First,
    Last,
}

#[derive(Clone, Debug)]
pub(crate) enum Range {
    Window(Window),
    /// `on at least n of last m unit`.
    Periods {
        n: u32,
        m: u32,
        unit: Unit,
        span: Span,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub singles: Vec<Single>,
    /// Of a group, for all its members.
    pub filter: Option<Filter>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Single {
    pub name: Name,
    pub filter: Option<Filter>,
}

#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// Joined by "and".
    pub conditions: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub selector: Selector,
    /// `then no`.
    pub absent: bool,
    pub within: Option<Dur>,
    pub at_least_later: Option<Dur>,
    pub without: Option<Selector>,
    pub span: Span,
}

/// A window of events; the last two only of an instant.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub kind: WindowKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum WindowKind {
    Ever,
    Last(Dur),
    Older(Dur),
    Between(Dur, Dur),
    This(Unit),
    Full(u32, Unit),
    SinceDay(Day),
    SinceLast(Box<Selector>),
    Dates(Day, Day),
    Next(Dur),
    NextFull(u32, Unit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Session,
    Day,
    Week,
    Month,
    Year,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Day {
    pub kind: DayKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum DayKind {
    Date(i32),
    Instant(Timestamp),
}

#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub kind: RelationKind,
    pub span: Span,
}

#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub(crate) enum RelationKind {
    Compare { op: CompareOp, right: Term, ignore_case: bool },
    Between(Term, Term),
    In { negated: bool, values: Vec<Literal>, ignore_case: bool },
    HalfOpen(Literal, Literal),
    Rank { top: bool, millionths: i64 },
    Time(Window),
    Anniversary(Dur),
    Contains { what: Contained, ignore_case: bool },
    Has(Filter),
    StartsWith { text: String, ignore_case: bool },
    EndsWith { text: String, ignore_case: bool },
    Matches(String),
    Near { metres: f64, lat: Number, lon: Number },
    Is { negated: bool, what: State },
}

#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub(crate) enum Contained {
    One(Term),
    Any(Vec<Literal>),
    All(Vec<Literal>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Empty,
    Known,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub kind: TermKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum TermKind {
    Literal(Literal),
    Path(Vec<Name>),
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Term>,
        right: Box<Term>,
    },
    Aggregate {
        function: Function,
        of: Selector,
        property: Vec<Name>,
        per: Option<Vec<Name>>,
        window: Window,
    },
    OfEvent {
        which: Which,
        of: Selector,
        property: Vec<Name>,
    },
    Score(Name),
    Points(Name),
    Stage(Name),
    Bucket(String),
    Ntile(u32, Box<Term>),
    Band(Box<Term>, Vec<Literal>),
    Age(Box<Term>),
    /// Only in `emit`.
    Key,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ArithmeticOp {
    Add,
    Sub,
    Mul,
    Div,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Distinct,
}

#[derive(Clone, Debug)]
pub(crate) struct Literal {
    pub kind: LiteralKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum LiteralKind {
    /// Digits with sign and point, and the currency that follows.
    Number {
        text: String,
        currency: Option<Name>,
    },
    Text(String),
    /// **Units:** milliseconds. `None` was reported.
    Duration(Option<i64>),
    Date(i32),
    Instant(Timestamp),
    /// **Units:** milliseconds since midnight.
    Clock(i64),
    /// **Units:** millionths of the whole.
    Percent(i64),
    /// Stands only in `within .. of geo(..)`, which reads it by itself.
    Distance,
    Bool(bool),
}
