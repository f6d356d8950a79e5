//! Reads one segment file under a purpose, row group by row group.
//!
//! The footer is read without a key; then the data keys of the wanted columns are unwrapped, as far as the purpose
//! opens them, and nothing else can be decrypted. A column without a key is absent. Nothing decrypted outlives the
//! reader, which belongs to one purpose. Bound: the wanted columns of [`BATCH_ROWS`] rows, and Parquet's pages.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{DataType, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection,
};
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::file::column_crypto_metadata::ColumnCryptoMetaData;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::SegmentError;
use super::cells::Cells;
use super::material::Material;
use super::schema;
use super::shared::SharedFile;
use crate::clock::Timestamp;
use crate::record::rebuilt::RowBuilder;
use crate::record::{COLUMNS, Column, Kind, Opened, Row};
use crate::regular_file;
use crate::seal::{KeyClass, KeyError, KeyId, Keyring};
use crate::store::reader::TimeRange;
use crate::store::subjects::{Hidden, HiddenRows};

/// Rows decoded at once.
const BATCH_ROWS: usize = 4096;
/// Rows of the first batch when only the newest are wanted; each further one is larger.
const FIRST_ROWS: usize = 256;

/// Which columns a reader of segments needs.
#[derive(Clone, Debug)]
pub(in crate::store) struct Wanted {
    /// To try the filter.
    pub(in crate::store) tried: Vec<&'static Column>,
    /// To show a row, on top of those; `None` is every column that the purpose opens.
    pub(in crate::store) shown: Option<Vec<&'static Column>>,
}

/// A segment file, opened under a purpose.
pub(in crate::store) struct Segment {
    path: PathBuf,
    file: SharedFile,
    metadata: ArrowReaderMetadata,
    node: Vec<u8>,
    schema: u64,
    opened: Opened,
    locked: bool,
    hidden: Arc<Hidden>,
    /// What can be read of what is tried, and of everything that is wanted.
    tried: Vec<&'static Column>,
    all: Vec<&'static Column>,
}

impl Segment {
    /// Opens a file; `None` when it is gone, because retention removed it.
    ///
    /// # Errors
    /// When it cannot be read, or a key that should be there is not.
    pub(in crate::store) fn open(
        path: &Path,
        keyring: &Keyring,
        wanted: &Wanted,
    ) -> Result<Option<Self>, SegmentError> {
        let file = match regular_file::open(path) {
            Ok(file) => SharedFile::of(file)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause.into()),
        };
        keyring.hidden().refresh()?;
        let opened = keyring.opened();
        let shown = wanted.shown.clone().unwrap_or_else(|| COLUMNS.iter().collect());
        let mut all: Vec<_> = ALWAYS.iter().filter_map(|name| Column::by_name(name)).collect();
        for column in wanted.tried.iter().copied().chain(shown) {
            if opened.allows(column.class) && !all.iter().any(|c| c.id == column.id) {
                all.push(column);
            }
        }
        // The page index of a sealed column needs its key even if the column is not read.
        let options = ArrowReaderOptions::new()
            .with_page_index_policy(PageIndexPolicy::Skip)
            .with_skip_arrow_metadata(true);
        let mut metadata = ArrowReaderMetadata::load(&file, options.clone())?;
        all.retain(|column| metadata.schema().column_with_name(column.column).is_some());
        let (keys, locked) = keys(metadata.metadata(), &all, keyring)?;
        all.retain(|column| !schema::sealed(column) || keys.iter().any(|(id, _)| *id == column.id));
        if !keys.is_empty() {
            metadata =
                ArrowReaderMetadata::load(&file, options.with_file_decryption_properties(decryption(keys)?))?;
        }
        let coded = coded(&metadata);
        let mut metadata = metadata;
        if let Some(schema) = coded {
            let options = ArrowReaderOptions::new().with_schema(schema);
            metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
        }
        let needed = |c: &&'static Column| {
            ALWAYS.contains(&c.name) || wanted.tried.iter().any(|tried| tried.id == c.id)
        };
        let tried = all.iter().copied().filter(needed).collect();
        let (node, schema) = origin(metadata.metadata());
        let hidden = Arc::clone(keyring.hidden());
        let path = path.to_owned();
        Ok(Some(Self { path, file, metadata, node, schema, opened, locked, hidden, tried, all }))
    }

    /// Where it lies.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether columns are absent because a key is missing that was not destroyed.
    pub(in crate::store) const fn locked(&self) -> bool {
        self.locked
    }

    /// The row groups that may hold rows of the range, in the order of `seq`.
    pub(in crate::store) fn groups(&self, range: &TimeRange) -> Vec<usize> {
        let groups = self.metadata.metadata().row_groups().iter().enumerate();
        groups.filter(|(_, group)| touches(group, range)).map(|(index, _)| index).collect()
    }

    /// Bytes of a row group in the file.
    pub(in crate::store) fn bytes_of(&self, group: usize) -> u64 {
        let group = self.metadata.metadata().row_groups().get(group);
        group.and_then(|group| u64::try_from(group.compressed_size()).ok()).unwrap_or_default()
    }

    /// Hands every row of a row group to `each`, in the order of `seq`, with every wanted column.
    pub(in crate::store) fn rows(
        &self,
        group: usize,
        mut each: impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SegmentError> {
        self.hidden.refresh()?;
        let hidden = self.hidden.rows();
        let mut builder = RowBuilder::default();
        for batch in self.read(group, &self.all, None)? {
            let cells = Cells::of(&batch?, &self.all);
            for row in self.shown(&cells, &hidden) {
                if self.build(&cells, row, &mut builder, &mut each).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands a row group to `each` as columns, in the order of `seq`, and which of its rows may be shown.
    pub(in crate::store) fn columns(
        &self,
        group: usize,
        mut each: impl FnMut(&Cells, &[bool]),
    ) -> Result<(), SegmentError> {
        self.hidden.refresh()?;
        let hidden = self.hidden.rows();
        for batch in self.read(group, &self.all, None)? {
            let cells = Cells::of(&batch?, &self.all);
            let shown: Vec<bool> = (0..cells.rows()).map(|row| !hidden.hides(cells.seq(row))).collect();
            self.hidden.hid(shown.iter().filter(|shown| !**shown).count() as u64);
            each(&cells, &shown);
        }
        Ok(())
    }

    /// The kind of one row of such columns.
    pub(in crate::store) fn kind(&self, cells: &Cells, at: usize) -> Kind {
        cells.kind(at).map_or(Kind::Unknown, Kind::from_label)
    }

    /// Hands one row of such columns to `each`.
    pub(in crate::store) fn row(
        &self,
        cells: &Cells,
        at: usize,
        builder: &mut RowBuilder,
        mut each: impl FnMut(&Row<'_>),
    ) {
        let _: ControlFlow<()> = self.build(cells, at, builder, |row| {
            each(row);
            ControlFlow::Continue(())
        });
    }

    /// Hands the rows of a row group that `wants` says to `each`, the newest first. `wants` sees the tried columns only,
    /// in the order of `seq`; the others are read where it said yes.
    pub(in crate::store) fn newest_first(
        &self,
        group: usize,
        mut wants: impl FnMut(&Row<'_>) -> bool,
        mut each: impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SegmentError> {
        self.hidden.refresh()?;
        let hidden = self.hidden.rows();
        let mut builder = RowBuilder::default();
        let mut found: Vec<usize> = Vec::new();
        let mut base = 0;
        for batch in self.read(group, &self.tried, None)? {
            let cells = Cells::of(&batch?, &self.tried);
            for row in self.shown(&cells, &hidden) {
                let _: ControlFlow<()> = self.build(&cells, row, &mut builder, |r| {
                    if wants(r) {
                        found.push(base + row);
                    }
                    ControlFlow::Continue(())
                });
            }
            base += cells.rows();
        }
        let mut most = FIRST_ROWS;
        while !found.is_empty() {
            let part = found.split_off(found.len().saturating_sub(most));
            most = most.saturating_mul(4).min(LAST_ROWS);
            let ranges = part.iter().map(|at| *at..*at + 1);
            let selection = RowSelection::from_consecutive_ranges(ranges, base);
            let batches: Vec<_> = self.read(group, &self.all, Some(selection))?.collect::<Result<_, _>>()?;
            for batch in batches.iter().rev() {
                let cells = Cells::of(batch, &self.all);
                for row in (0..cells.rows()).rev() {
                    if self.build(&cells, row, &mut builder, &mut each).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn read(
        &self,
        group: usize,
        columns: &[&'static Column],
        selection: Option<RowSelection>,
    ) -> Result<ParquetRecordBatchReader, SegmentError> {
        let schema = self.metadata.schema();
        let roots = columns.iter().filter_map(|c| schema.column_with_name(c.column)).map(|(index, _)| index);
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let file = self.file.clone();
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        Ok(builder.build()?)
    }

    /// The rows of a batch that may be shown.
    fn shown(&self, cells: &Cells, hidden: &HiddenRows) -> Vec<usize> {
        let shown: Vec<usize> = (0..cells.rows()).filter(|row| !hidden.hides(cells.seq(*row))).collect();
        self.hidden.hid((cells.rows() - shown.len()) as u64);
        shown
    }

    fn build<B>(
        &self,
        cells: &Cells,
        at: usize,
        builder: &mut RowBuilder,
        mut each: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        builder.begin(cells.kind(at).map_or(Kind::Unknown, Kind::from_label));
        cells.put(at, builder);
        let ts = Timestamp::from_micros(cells.ts(at));
        each(&builder.row((cells.seq(at), ts), (&self.node, self.schema), self.opened))
    }
}

/// The data keys of the sealed columns among these that the keyring opens, by column id, and whether a key is missing
/// that should be there.
fn keys(
    metadata: &ParquetMetaData,
    columns: &[&'static Column],
    keyring: &Keyring,
) -> Result<(Vec<(u8, FoundKey)>, bool), SegmentError> {
    let (mut found, mut locked) = (Vec::new(), false);
    let Some(group) = metadata.row_groups().first() else { return Ok((found, locked)) };
    for column in columns.iter().filter(|c| schema::sealed(c)) {
        let leaf = schema::leaf(column);
        let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == leaf);
        let Some(ColumnCryptoMetaData::ENCRYPTION_WITH_COLUMN_KEY(sealed)) =
            chunk.and_then(|chunk| chunk.crypto_metadata())
        else {
            continue;
        };
        let material = sealed.key_metadata.as_deref().and_then(Material::decode);
        let Some((key, wrapped)) = material.and_then(|m| Some((m.key.parse::<KeyId>().ok()?, m.wrapped)))
        else {
            continue;
        };
        // The name in the file must not open a column of one class with the key of another.
        if key.class != KeyClass::from(column.class) {
            continue;
        }
        match keyring.unwrap(&key, &wrapped) {
            Ok(Some(dek)) => found.push((column.id, (leaf, dek.bytes().to_vec()))),
            Ok(None) => {}
            Err(KeyError::Missing(_)) => locked = true,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((found, locked))
}

/// One data key of a segment for each key that wraps data keys of its columns, still wrapped; the footer is read without a
/// key. Nothing when the file is gone.
///
/// # Errors
/// When it cannot be read.
pub(super) fn wrapped(path: &Path) -> Result<Vec<(KeyId, Vec<u8>)>, SegmentError> {
    let file = match regular_file::open(path) {
        Ok(file) => SharedFile::of(file)?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause.into()),
    };
    let options = ArrowReaderOptions::new()
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&file, options)?;
    let mut found: Vec<(KeyId, Vec<u8>)> = Vec::new();
    let chunks = metadata.metadata().row_groups().iter().take(1).flat_map(RowGroupMetaData::columns);
    for chunk in chunks {
        let Some(ColumnCryptoMetaData::ENCRYPTION_WITH_COLUMN_KEY(sealed)) = chunk.crypto_metadata() else {
            continue;
        };
        let material = sealed.key_metadata.as_deref().and_then(Material::decode);
        if let Some(material) = material
            && let Ok(key) = material.key.parse::<KeyId>()
            && !found.iter().any(|(known, _)| *known == key)
        {
            found.push((key, material.wrapped));
        }
    }
    Ok(found)
}

/// The path of a column and its data key.
type FoundKey = (String, Vec<u8>);

fn decryption(keys: Vec<(u8, FoundKey)>) -> Result<Arc<FileDecryptionProperties>, SegmentError> {
    // The footer is in the clear: the signature is not what a reader relies on, the manifest's hash is checked by
    // `verify`.
    let mut builder = FileDecryptionProperties::builder(vec![0; 32]).disable_footer_signature_verification();
    for (_, (leaf, key)) in keys {
        builder = builder.with_column_key(&leaf, key);
    }
    Ok(builder.build()?)
}

/// The schema with texts left in their dictionaries where the file has them so; `None` when there are none.
fn coded(metadata: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let group = metadata.metadata().row_groups().first()?;
    let coded = |name: &str| {
        let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == name);
        chunk.is_some_and(|chunk| chunk.dictionary_page_offset().is_some())
    };
    let mut any = false;
    let fields: Vec<_> = metadata
        .schema()
        .fields()
        .iter()
        .map(|field| {
            if *field.data_type() != DataType::Utf8 || !coded(field.name()) {
                return Arc::clone(field);
            }
            any = true;
            let ty = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            Arc::new(field.as_ref().clone().with_data_type(ty))
        })
        .collect();
    any.then(|| Arc::new(Schema::new_with_metadata(fields, metadata.schema().metadata().clone())))
}

/// Name of the gateway and version of the column table.
fn origin(metadata: &ParquetMetaData) -> (Vec<u8>, u64) {
    let about = |key: &str| {
        let pairs = metadata.file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.clone()
    };
    let node = about("kelisim.node").unwrap_or_default().into_bytes();
    (node, about("kelisim.schema").and_then(|v| v.parse().ok()).unwrap_or_default())
}

/// Whether a row group may hold rows of the range; one without statistics may.
fn touches(group: &RowGroupMetaData, range: &TimeRange) -> bool {
    let bounds = |name: &str| {
        let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == name)?;
        match chunk.statistics()? {
            Statistics::Int64(s) => Some((*s.min_opt()?, *s.max_opt()?)),
            _ => None,
        }
    };
    let Some((first, last)) = bounds("ts") else { return true };
    let earliest = bounds("start_ts").map_or(first, |(arrived, _)| arrived.min(first));
    range.touches(Timestamp::from_micros(earliest), Timestamp::from_micros(last))
}

/// What every row has.
const ALWAYS: [&str; 3] = ["seq", "ts", "record.kind"];
/// Most rows of a batch when only the newest are wanted.
const LAST_ROWS: usize = 16 << 10;
