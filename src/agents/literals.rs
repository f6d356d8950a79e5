//! What can be told of a pattern without running it: texts that every match holds, and how much a group leaves open.
//!
//! The first lets a search pass over patterns that cannot match. The second tells a value that the rules name from one
//! that the client writes: only the former may stand among the facts without a person. Pure. Bound: the pattern, whose
//! nesting the parser limits.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Shortest text that is worth looking for.
const SHORTEST: usize = 3;
/// Longest: what is cut off only makes the text less special, and few others can then lie within it.
const LONGEST: usize = 16;
/// Most texts of one pattern.
const MOST: usize = 64;
/// How many different values a group may have and still be one that the rules name.
const CLOSED: u64 = 4096;

/// Texts in lower case of which every match holds at least one, whatever its case; `None` when there are none such.
pub(super) fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(required(branch)?);
                if all.len() > MOST {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Concat(parts) => best_of(parts),
        _ => one(exact(hir)?),
    }
}

/// The most special texts among the parts of a sequence; neighbours that are exact are one text.
fn best_of(parts: &[Hir]) -> Option<Vec<Vec<u8>>> {
    let mut best: Option<Vec<Vec<u8>>> = None;
    let mut run = Vec::new();
    let mut offer = |texts: Option<Vec<Vec<u8>>>| {
        let Some(texts) = texts else { return };
        let rank = |texts: &Vec<Vec<u8>>| (texts.iter().map(Vec::len).min(), std::cmp::Reverse(texts.len()));
        if best.as_ref().is_none_or(|best| rank(best) < rank(&texts)) {
            best = Some(texts);
        }
    };
    for part in parts {
        match exact(part) {
            Some(text) => run.extend(text),
            None => {
                offer(one(std::mem::take(&mut run)));
                offer(required(part));
            }
        }
    }
    offer(one(run));
    best
}

fn one(mut text: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    text.truncate(LONGEST);
    (text.len() >= SHORTEST).then(|| vec![text])
}

/// The one text, in lower case, that this matches.
fn exact(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(literal.0.to_ascii_lowercase()),
        HirKind::Capture(capture) => exact(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(exact).collect::<Option<Vec<_>>>().map(|p| p.concat()),
        HirKind::Class(class) => Some(vec![letter(class)?]),
        _ => None,
    }
}

/// The letter of a class that holds nothing but its two cases.
fn letter(class: &Class) -> Option<u8> {
    let mut letters = members(class)?.into_iter().map(|byte| byte.to_ascii_lowercase());
    let first = letters.next()?;
    letters.all(|letter| letter == first).then_some(first)
}

/// The members of a class of one or two ASCII characters.
fn members(class: &Class) -> Option<Vec<u8>> {
    let ends: Vec<(u32, u32)> = match class {
        Class::Bytes(class) => class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(),
        Class::Unicode(class) => class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(),
    };
    if ends.len() > 2 || ends.iter().any(|(start, end)| end - start > 1 || *end > 0x7f) {
        return None;
    }
    ends.into_iter().flat_map(|(start, end)| start..=end).map(|c| u8::try_from(c).ok()).collect()
}

/// Whether what the group matches is one of a few values that stand in the rules, not a text of the client's choice.
/// A group that is not there matches nothing.
pub(super) fn is_closed(hir: &Hir, group: u32) -> bool {
    find(hir, group).is_none_or(|sub| values(sub).is_some_and(|n| n <= CLOSED))
}

fn find(hir: &Hir, group: u32) -> Option<&Hir> {
    match hir.kind() {
        HirKind::Capture(capture) if capture.index == group => Some(&capture.sub),
        HirKind::Capture(capture) => find(&capture.sub, group),
        HirKind::Repetition(repetition) => find(&repetition.sub, group),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().find_map(|part| find(part, group))
        }
        _ => None,
    }
}

/// How many different texts this can match at most; `None` without a limit.
fn values(hir: &Hir) -> Option<u64> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) => Some(1),
        HirKind::Class(Class::Bytes(class)) => {
            Some(class.ranges().iter().map(|r| u64::from(r.end() - r.start()) + 1).sum())
        }
        HirKind::Class(Class::Unicode(class)) => Some(
            class.ranges().iter().map(|r| u64::from(u32::from(r.end()) - u32::from(r.start())) + 1).sum(),
        ),
        HirKind::Capture(capture) => values(&capture.sub),
        HirKind::Concat(parts) => parts.iter().try_fold(1_u64, |n, part| n.checked_mul(values(part)?)),
        HirKind::Alternation(parts) => parts.iter().try_fold(0_u64, |n, part| n.checked_add(values(part)?)),
        HirKind::Repetition(repetition) => {
            let each = values(&repetition.sub)?;
            let (mut all, mut power) = (0_u64, each.checked_pow(repetition.min)?);
            // One value repeated is told by its length alone, so many lengths are still few values.
            for _ in repetition.min..=repetition.max? {
                all = all.checked_add(power)?;
                power = power.checked_mul(each)?;
                if all > CLOSED {
                    return None;
                }
            }
            Some(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hir(pattern: &str) -> Hir {
        regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).unwrap()
    }

    fn texts(pattern: &str) -> Option<Vec<String>> {
        Some(required(&hir(pattern))?.into_iter().map(|t| String::from_utf8(t).unwrap()).collect())
    }

    #[test]
    fn every_match_holds_one_of_the_texts() {
        for (pattern, wanted) in [
            (r"Googlebot\/", Some(vec!["googlebot/"])),
            ("[wW]get", Some(vec!["wget"])),
            ("(?i)foo(bar|bazz)", Some(vec!["foo"])),
            ("(Firefox|Iceweasel)/[0-9]+", Some(vec!["firefox", "iceweasel"])),
            ("a.*long text", Some(vec!["long text"])),
            ("(?:abc)?", None),
            ("[a-z]+", None),
            ("ab|abc", None),
            ("ab", None),
        ] {
            let wanted = wanted.map(|w| w.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(texts(pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn a_group_is_closed_when_the_rules_name_its_values() {
        for (pattern, closed) in [
            ("(Firefox|Iceweasel)/([0-9]+)", true),
            ("(Fire[Ff]ox)", true),
            ("([A-Za-z]+)bot", false),
            ("(.{0,200})/1", false),
            ("([0-9]{1,3})", true),
            ("([0-9]{1,30})", false),
            ("no group", true),
        ] {
            assert_eq!(is_closed(&hir(pattern), 1), closed, "{pattern}");
        }
        assert!(!is_closed(&hir("(Firefox|Iceweasel)/([0-9]+)"), 2));
    }
}
