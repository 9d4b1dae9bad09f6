//! The text format of OpenMetrics 1.0, read strictly: what it does not allow is a panic.

use std::collections::{BTreeMap, HashSet};

/// The samples of a page, by name and labels as written.
pub(super) struct Page {
    samples: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Page {
    pub(super) fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with EOF");
        let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        let (mut family, mut helped) = (String::new(), HashSet::new());
        for line in body.lines() {
            if let Some(meta) = line.strip_prefix("# ") {
                let (what, rest) = meta.split_once(' ').unwrap();
                let (name, value) = rest.split_once(' ').unwrap();
                assert!(is_name(name), "{line}");
                match what {
                    "HELP" => assert!(helped.insert(name.to_owned()) && value.ends_with('.')),
                    "TYPE" => {
                        family = name.to_owned();
                        let known = ["counter", "gauge", "histogram", "info"].contains(&value);
                        let first = kinds.insert(family.clone(), value.to_owned()).is_none();
                        assert!(known && first, "{line}");
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').expect(line);
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (name, value) = label.split_once('=').unwrap();
                assert!(is_name(name), "{line}");
                let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.+-".contains(&b);
                assert!(value.unwrap().bytes().all(plain), "bounded labels: {line}");
            }
            let suffixes: &[&str] = match kinds[&family].as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_count", "_sum"],
                "info" => &["_info"],
                _ => &[""],
            };
            let suffix = name.strip_prefix(family.as_str()).expect(line);
            assert!(suffixes.contains(&suffix), "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(value >= 0.0, "{line}");
            assert!(
                samples.insert(series.to_owned(), value).is_none(),
                "twice: {line}"
            );
        }
        let page = Self { samples, kinds };
        page.histograms_are_sound();
        page
    }

    /// The value of a series, written as on the page.
    #[track_caller]
    pub(super) fn value(&self, series: &str) -> f64 {
        let found = self.samples.get(series);
        *found.unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }

    /// Every family, and what it is.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kinds
            .iter()
            .map(|(name, kind)| (name.as_str(), kind.as_str()))
    }

    fn histograms_are_sound(&self) {
        for (series, total) in &self.samples {
            let Some((family, labels)) = series.split_once("_bucket{le=\"+Inf\"") else {
                continue;
            };
            let labels = labels.trim_start_matches(',').trim_end_matches('}');
            let own = match labels {
                "" => format!("{family}_count"),
                labels => format!("{family}_count{{{labels}}}"),
            };
            assert_eq!(self.value(&own), *total, "{series}");
            let bucket = format!("{family}_bucket{{");
            let (all, end) = (self.samples.iter(), format!("{labels}}}"));
            let mut of = all.filter(|(s, _)| s.starts_with(&bucket) && s.ends_with(&end));
            assert!(of.all(|(_, count)| count <= total), "{series}");
        }
    }
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !text.is_empty() && text.bytes().all(plain)
}
