//! Go's test program test/chan/powser1.go (The Go Authors, BSD-3-Clause), restated in Rust: power series
//! as goroutines, after Doug McIlroy's "Squinting at Power Series". A series is a pair of channels, one
//! to ask for a term and one to get it; what is made of series is goroutines that ask others. They start
//! others while they run, and form rings.
//!
//! Go's program ends while they all wait. Here a series that nobody wants any more ends: its goroutine
//! finds the channel disconnected, and gives up its own; so do those it asked. At the end of each test
//! nobody is left.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::chan::{Receiver, RecvError, Select, SendError, Sender, bounded, never};
use goroutines::{go, runtime, select};
use goroutines_tests::io::at_each;
use std::time::Duration;

/// A rational number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rational {
    numerator: i64,
    denominator: i64,
}

const ZERO: Rational = whole(0);
const ONE: Rational = whole(1);

const fn whole(n: i64) -> Rational {
    Rational { numerator: n, denominator: 1 }
}

fn ratio(u: i64, v: i64) -> Rational {
    fn gcd(a: i64, b: i64) -> i64 {
        if b == 0 { a.abs() } else { gcd(b, a % b) }
    }
    let divisor = gcd(u, v) * v.signum();
    Rational { numerator: u / divisor, denominator: v / divisor }
}

impl std::ops::Add for Rational {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let numerator = self.numerator * other.denominator + other.numerator * self.denominator;
        ratio(numerator, self.denominator * other.denominator)
    }
}

impl std::ops::Mul for Rational {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        ratio(self.numerator * other.numerator, self.denominator * other.denominator)
    }
}

impl std::ops::Neg for Rational {
    type Output = Self;
    fn neg(self) -> Self {
        Self { numerator: -self.numerator, denominator: self.denominator }
    }
}

impl Rational {
    fn reciprocal(self) -> Self {
        ratio(self.denominator, self.numerator)
    }
}

/// A coefficient; none when there are no more.
type Term = Option<Rational>;

/// Nobody is at the other end any more.
#[derive(Debug)]
struct Gone;

impl<T> From<SendError<T>> for Gone {
    fn from(_: SendError<T>) -> Self {
        Self
    }
}

impl From<RecvError> for Gone {
    fn from(_: RecvError) -> Self {
        Self
    }
}

/// A power series: its terms, the constant one first, one for each time one asks.
#[derive(Clone, Debug)]
struct Series {
    ask: Sender<()>,
    terms: Receiver<Term>,
}

/// Where its terms come from.
#[derive(Clone, Debug)]
struct Out {
    asked: Receiver<()>,
    terms: Sender<Term>,
    /// One of two that a split answers, which can be given up alone.
    is_spare: bool,
}

fn pair() -> (Out, Series) {
    let ((ask, asked), (terms_s, terms_r)) = (bounded(0), bounded(0));
    (Out { asked, terms: terms_s, is_spare: false }, Series { ask, terms: terms_r })
}

impl Out {
    /// Sends a term when asked.
    fn put(&self, term: Rational) -> Result<(), Gone> {
        self.asked.recv()?;
        self.send(Some(term))
    }

    /// Sends a term after having been asked.
    fn send(&self, term: Term) -> Result<(), Gone> {
        Ok(self.terms.send(term)?)
    }

    /// The last thing asked for: there are no more terms.
    fn end(&self) -> Result<(), Gone> {
        self.asked.recv()?;
        self.send(None)
    }

    /// Passes on all of a series.
    fn copy(&self, u: &Series) -> Result<(), Gone> {
        loop {
            self.asked.recv()?;
            let term = u.get()?;
            self.send(term)?;
            if term.is_none() {
                return Ok(());
            }
        }
    }

    /// Nobody asks any more.
    fn given_up(&self) -> Result<(), Gone> {
        if self.is_spare { Ok(()) } else { Err(Gone) }
    }
}

impl Series {
    fn get(&self) -> Result<Term, Gone> {
        self.ask.send(())?;
        Ok(self.terms.recv()?)
    }
}

/// One term of each of two series, asked for at the same time: a select of what is still to be done.
fn get_both(u: &Series, v: &Series) -> Result<(Term, Term), Gone> {
    let both = [u, v];
    let (mut asked, mut terms) = ([false; 2], [None; 2]);
    while terms.iter().any(Option::is_none) {
        let mut select = Select::new();
        let mut arms = Vec::new();
        for (i, series) in both.iter().enumerate() {
            if !asked[i] {
                select.send(&series.ask);
                arms.push((i, true));
            } else if terms[i].is_none() {
                select.recv(&series.terms);
                arms.push((i, false));
            }
        }
        let operation = select.select();
        let (i, asks) = arms[operation.index()];
        if asks {
            operation.send(&both[i].ask, ())?;
            asked[i] = true;
        } else {
            terms[i] = Some(operation.recv(&both[i].terms)?);
        }
    }
    Ok((terms[0].unwrap(), terms[1].unwrap()))
}

/// A series that a goroutine makes.
fn made_by(f: impl FnOnce(&Out) -> Result<(), Gone> + Send + 'static) -> Series {
    let (out, series) = pair();
    go(move || f(&out).is_ok());
    series
}

/// What makes a split: a goroutine for each term of `source`, started when it is first asked for, which
/// ends when it has been sent to both. The newest answers the one that is ahead, the oldest the other.
struct Splitter {
    source: Series,
    both: [Out; 2],
    /// Tells it that all older ones have ended. It is gone when they have given up.
    older: Receiver<()>,
    /// Gone when it has given up.
    _alive: Sender<()>,
}

impl Splitter {
    /// Starts one, and gives what tells it of the older ones' end, and them of its own.
    fn start(source: Series, both: [Out; 2]) -> (Sender<()>, Receiver<()>) {
        let ((release, older), (alive, newer)) = (bounded(0), bounded(0));
        let splitter = Self { source, both, older, _alive: alive };
        go(move || splitter.run().is_ok());
        (release, newer)
    }

    fn run(&self) -> Result<(), Gone> {
        let [mut ahead, mut behind] = self.both.each_ref();
        let is_oldest = select! {
            recv(ahead.asked) -> asked => match asked {
                Ok(()) => false,
                Err(RecvError) => {
                    ahead.given_up()?;
                    self.older.recv()?;
                    behind.asked.recv()?;
                    std::mem::swap(&mut ahead, &mut behind);
                    true
                }
            },
            recv(self.older) -> released => {
                released?;
                select! {
                    recv(ahead.asked) -> asked => if asked.is_err() {
                        ahead.given_up()?;
                        behind.asked.recv()?;
                        std::mem::swap(&mut ahead, &mut behind);
                    },
                    recv(behind.asked) -> asked => if asked.is_err() {
                        behind.given_up()?;
                        ahead.asked.recv()?;
                    } else {
                        std::mem::swap(&mut ahead, &mut behind);
                    },
                }
                true
            }
        };
        let term = self.source.get()?;
        let next = term.map(|_| Self::start(self.source.clone(), [ahead.clone(), behind.clone()]));
        let (release, newer) = next.map_or((None, never()), |(s, r)| (Some(s), r));
        ahead.send(term).or_else(|Gone| ahead.given_up())?;
        if !is_oldest {
            select! {
                recv(self.older) -> released => released?,
                recv(newer) -> _ => return Err(Gone),
            }
        }
        select! {
            recv(behind.asked) -> asked => match asked {
                Ok(()) => behind.send(term).or_else(|Gone| behind.given_up())?,
                Err(RecvError) => behind.given_up()?,
            },
            recv(newer) -> _ => return Err(Gone),
        }
        release.map_or(Ok(()), |release| Ok(release.send(())?))
    }
}

/// Has two series answered with the terms of `source`, each at its own rate. The second can be given up
/// alone; if the first is, both are: in a ring, those who want the second only wait for the first.
fn split_into(source: Series, [first, mut second]: [Out; 2]) {
    second.is_spare = true;
    let (release, _newer) = Splitter::start(source, [first, second]);
    go(move || release.send(()));
}

/// As [`split_into`].
fn split(source: Series) -> (Series, Series) {
    let ((out, series), (spare_out, spare)) = (pair(), pair());
    split_into(source, [out, spare_out]);
    (series, spare)
}

/// c + c x + c x² + …
fn repeat(c: Rational) -> Series {
    made_by(move |out| {
        loop {
            out.put(c)?;
        }
    })
}

fn polynomial(terms: &[Rational]) -> Series {
    let terms = terms.to_vec();
    made_by(move |out| {
        terms.into_iter().try_for_each(|term| out.put(term))?;
        out.end()
    })
}

fn add(u: Series, v: Series) -> Series {
    made_by(move |out| {
        loop {
            out.asked.recv()?;
            match get_both(&u, &v)? {
                (Some(a), Some(b)) => out.send(Some(a + b))?,
                (None, Some(b)) => {
                    out.send(Some(b))?;
                    return out.copy(&v);
                }
                (Some(a), None) => {
                    out.send(Some(a))?;
                    return out.copy(&u);
                }
                (None, None) => return out.send(None),
            }
        }
    })
}

/// Each term of `u`, with its number, after `f`.
fn map(u: Series, mut f: impl FnMut(i64, Rational) -> Rational + Send + 'static) -> Series {
    made_by(move |out| {
        for i in 0.. {
            out.asked.recv()?;
            let term = u.get()?;
            out.send(term.map(|term| f(i, term)))?;
            if term.is_none() {
                break;
            }
        }
        Ok(())
    })
}

fn times(c: Rational, u: Series) -> Series {
    map(u, move |_, term| c * term)
}

fn subtract(u: Series, v: Series) -> Series {
    add(u, times(-ONE, v))
}

/// c + x U
fn shift(c: Rational, u: Series) -> Series {
    made_by(move |out| {
        out.put(c)?;
        out.copy(&u)
    })
}

/// U = u + x U', V = v + x V', so that U V = u v + x (u V' + v U') + x² U' V'.
fn multiply(u: Series, v: Series) -> Series {
    made_by(move |out| {
        out.asked.recv()?;
        let (Some(a), Some(b)) = get_both(&u, &v)? else { return out.send(None) };
        out.send(Some(a * b))?;
        let ((u_0, u_1), (v_0, v_1)) = (split(u), split(v));
        let w = add(times(a, v_0), times(b, u_0));
        out.asked.recv()?;
        out.send(w.get()?)?;
        out.copy(&add(w, multiply(u_1, v_1)))
    })
}

fn differentiate(u: Series) -> Series {
    made_by(move |out| {
        out.asked.recv()?;
        let mut term = u.get()?;
        for i in 1.. {
            if term.is_some() {
                term = u.get()?;
            }
            out.send(term.map(|term| whole(i) * term))?;
            if term.is_none() {
                break;
            }
            out.asked.recv()?;
        }
        Ok(())
    })
}

fn integrate(c: Rational, u: Series) -> Series {
    shift(c, map(u, |i, term| ratio(1, i + 1) * term))
}

/// (1 + x) to the power of `c`
fn binomial(mut c: Rational) -> Series {
    made_by(move |out| {
        let mut term = ONE;
        for n in 1.. {
            out.put(term)?;
            if c == ZERO {
                break;
            }
            term = term * c * ratio(1, n);
            c = c + -ONE;
        }
        out.end()
    })
}

/// 1 / U. U = u + x U', Z = z + x Z', U Z = 1, so that z = 1 / u and Z' = -z U' Z: a ring.
fn reciprocal(u: Series) -> Series {
    made_by(move |out| {
        out.asked.recv()?;
        let Some(first) = u.get()? else { return out.send(None) };
        let z = first.reciprocal();
        out.send(Some(z))?;
        let ((out_0, z_0), (out_1, z_1)) = (pair(), pair());
        split_into(multiply(times(-z, u), shift(z, z_1)), [out_0, out_1]);
        out.copy(&z_0)
    })
}

/// e to the power of U without its constant term. Z = ∫ Z U': a ring.
fn exponential(u: Series) -> Series {
    let ((out_0, z_0), (out_1, z_1)) = (pair(), pair());
    split_into(integrate(ONE, multiply(z_1, differentiate(u))), [out_0, out_1]);
    z_0
}

/// U of V without its constant term: u + V' x U'(V).
fn substitute(u: Series, v: Series) -> Series {
    made_by(move |out| {
        let (v_0, v_1) = split(v);
        out.asked.recv()?;
        let first = u.get()?;
        out.send(first)?;
        if first.is_none() {
            return Ok(());
        }
        match v_0.get()? {
            None => out.end(),
            Some(_) => out.copy(&multiply(v_0, substitute(u, v_1))),
        }
    })
}

/// U of c xⁿ.
fn substitute_monomial(u: Series, c: Rational, n: usize) -> Series {
    made_by(move |out| {
        let mut power = ONE;
        loop {
            out.asked.recv()?;
            let Some(term) = u.get()? else { return out.send(None) };
            out.send(Some(term * power))?;
            power = power * c;
            (1..n).try_for_each(|_| out.put(ZERO))?;
        }
    })
}

/// Checks the first terms of a series, and that its goroutines end when nobody wants it.
#[track_caller]
fn check(what: &str, u: Series, expected: impl IntoIterator<Item = Rational>) {
    for (i, expected) in expected.into_iter().enumerate() {
        assert_eq!(u.get().unwrap(), Some(expected), "{what}: term {i}");
    }
    drop(u);
    if let Err(unfinished) = runtime::wait_all(Duration::from_secs(20)) {
        panic!("{what}: {unfinished}");
    }
}

const N: usize = 10;

fn ones() -> Series {
    repeat(ONE)
}

fn counting() -> impl Iterator<Item = Rational> {
    (1..=N as i64).map(whole)
}

/// Go: test/chan/powser1.go.
#[test]
fn power_series() {
    at_each(|_| {
        let twos = || repeat(whole(2));
        check("ones", ones(), [ONE; 5]);
        let shared = ones();
        check("ones + the same ones", add(shared.clone(), shared), [whole(2); N]);
        check("ones + twos", add(ones(), twos()), [whole(3); N]);
        check("the derivative of ones", differentiate(ones()), counting());
        let logarithm = || integrate(ZERO, ones());
        let reciprocals = (1..N as i64).map(|i| ratio(1, i));
        check("the integral of ones", logarithm(), [ZERO].into_iter().chain(reciprocals));
        check("minus twos", times(-ONE, twos()), [whole(-2); N]);
        check("ones - twos", subtract(ones(), twos()), [-ONE; N]);
        check("ones times ones", multiply(ones(), ones()), counting());
        let fractions = [
            (1, 1),
            (1, 1),
            (3, 2),
            (13, 6),
            (73, 24),
            (167, 40),
            (4051, 720),
            (37633, 5040),
            (43817, 4480),
            (4596553, 362880),
        ];
        check("exp ones", exponential(ones()), fractions.map(|(u, v)| ratio(u, v)));
        let arc_tangent = (0..N as i64).map(|i| match i % 4 {
            1 => ratio(1, i),
            3 => ratio(-1, i),
            _ => ZERO,
        });
        let derivative = substitute_monomial(ones(), -ONE, 2);
        check("arc tangent", integrate(ZERO, derivative), arc_tangent);
    });
}

/// Go: what test/chan/powser1.go has, but does not check.
#[test]
fn more_power_series() {
    at_each(|_| {
        let pascal = [1, 10, 45, 120, 210, 252, 210, 120, 45, 10, 1].map(whole);
        check("(1 + x)^10", binomial(whole(10)), pascal);
        let root = [(1, 1), (1, 2), (-1, 8), (1, 16), (-5, 128), (7, 256)];
        check("√(1 + x)", binomial(ratio(1, 2)), root.map(|(u, v)| ratio(u, v)));
        let one_minus_x = || polynomial(&[ONE, -ONE]);
        check("1 / (1 - x)", reciprocal(one_minus_x()), [ONE; N]);
        let squares = multiply(one_minus_x(), one_minus_x());
        check("1 / (1 - x)²", reciprocal(squares), counting());
        let product = multiply(one_minus_x(), polynomial(&[ONE; 5]));
        check("1 - x^5", product, [ONE, ZERO, ZERO, ZERO, ZERO, -ONE]);
        let fractions = [(1, 1), (1, 1), (3, 2), (7, 3), (11, 3), (347, 60)];
        let of = substitute(ones(), integrate(ZERO, ones()));
        check("1 / (1 + ln(1 - x))", of, fractions.map(|(u, v)| ratio(u, v)));
    });
}

/// A polynomial's end is told, once.
#[test]
fn finite_series_end() {
    at_each(|_| {
        let u = add(polynomial(&[ONE; 3]), polynomial(&[ONE; 2]));
        let terms = [whole(2), whole(2), ONE].map(Some);
        assert_eq!([(); 3].map(|()| u.get().unwrap()), terms);
        assert_eq!(u.get().unwrap(), None);
        assert!(u.get().is_err(), "it has ended");
        let (u_0, u_1) = split(polynomial(&[ONE, whole(2)]));
        for u in [u_0, u_1] {
            assert_eq!([(); 3].map(|()| u.get().unwrap()), [Some(ONE), Some(whole(2)), None]);
        }
        check("nothing", polynomial(&[]), []);
    });
}
