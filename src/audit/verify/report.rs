//! What checking found.

use std::fmt;

use serde::Serialize;

use crate::vault::WriterId;

/// Findings kept in memory; the others are counted.
const KEPT: usize = 1000;

/// What checking found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What is wrong, in the order of the files and lines it is at; of more than a thousand the first.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub unlisted: u64,
    /// Records that were read.
    pub records: u64,
    /// Events that were not recorded, as their writers say.
    pub lost: u64,
    /// The chains, by writer.
    pub chains: Vec<ChainSeen>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        } else {
            self.unlisted += 1;
        }
    }
}

/// One chain as it was found.
#[derive(Debug, Serialize)]
pub struct ChainSeen {
    /// Who wrote it.
    pub writer: WriterId,
    /// On which machine, where its first record is there to say it.
    pub host: Option<String>,
    /// By which process there.
    pub pid: Option<u32>,
    /// The number of the first record that was found.
    pub first: u64,
    /// Whether that one could not be checked, since the one before it is not there.
    pub first_unproven: bool,
    /// That of the last.
    pub last: u64,
    /// Whether its writer closed it; else it still writes, or was killed, or what came after its anchor
    /// was cut off.
    pub closed: bool,
    /// How far the store says it goes.
    pub anchored: Option<u64>,
    /// Events that its writer says were not recorded.
    pub lost: u64,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which file, if it is in one.
    pub file: Option<String>,
    /// At which line of it, from 1.
    pub line: Option<u64>,
    /// In whose chain, if that can be told.
    pub writer: Option<WriterId>,
    /// At which record of it.
    pub seq: Option<u64>,
    /// What.
    #[serde(flatten)]
    pub what: Wrong,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Wrong {
    /// A record is not what its writer wrote.
    Changed,
    /// Before this record others are missing, or stand elsewhere.
    Missing {
        /// The first of them.
        from: u64,
    },
    /// A record stands here that belongs before the one above, or was there already.
    OutOfPlace,
    /// A line is not a record.
    NoRecord,
    /// A line is only part of a record, and no writer says that it left it so.
    Torn,
    /// The chain's beginning is not in these files.
    Beginning,
    /// Nothing that is left of a chain can be checked.
    Unproven,
    /// A chain goes on after its last record.
    AfterClose,
    /// The chain ends before the record the store knows of.
    CutOff {
        /// The number of that record.
        anchored: u64,
    },
    /// The record the store knows of is another one.
    Forked,
    /// The store knows of a chain that is not there.
    NotThere,
    /// The chain says that the store knew more of it than it does.
    AnchorPutBack {
        /// The number of the record it knew of.
        anchored: u64,
    },
    /// What the store knows of the chain does not open.
    AnchorUnreadable,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        if let Some(writer) = self.writer {
            write!(f, "writer {writer}: ")?;
        }
        if let Some(seq) = self.seq {
            write!(f, "record {seq}: ")?;
        }
        self.what.fmt(f)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("is not what was written (or by another keyring)"),
            Self::Missing { from } => write!(
                f,
                "the records from {from} up to this one are missing here, so this one cannot be checked"
            ),
            Self::OutOfPlace => f.write_str("does not belong here: it was repeated, or moved"),
            Self::NoRecord => f.write_str("is not a record"),
            Self::Torn => f.write_str(
                "is part of a record: it was changed, or its process ended while writing it",
            ),
            Self::Beginning => f.write_str(
                "the chain begins here in the middle: give the earlier file too, before this one, or \
                 --from-middle if it is gone",
            ),
            Self::Unproven => f.write_str("no record of the chain can be checked"),
            Self::AfterClose => f.write_str("stands after the end of its chain"),
            Self::CutOff { anchored } => write!(
                f,
                "is the last of its chain here, and the store knows of record {anchored}: the end was cut off, \
                 or is in a file that was not given"
            ),
            Self::Forked => f.write_str("is another record than the one the store knows of"),
            Self::NotThere => f.write_str(
                "the store knows of this chain, which was written to one of these files: it is gone, or in \
                 an earlier file that was not given",
            ),
            Self::AnchorPutBack { anchored } => write!(
                f,
                "was written when the store knew of record {anchored}, and now it does not: somebody put an \
                 earlier state of the store back, or deleted there"
            ),
            Self::AnchorUnreadable => {
                f.write_str("what the store knows of this chain does not open: it was changed")
            }
        }
    }
}
