use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use broker_core::assignor::protocol::decode_assignment;
use clap::{ArgGroup, Args, Subcommand};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetDeleteRequest, OffsetFetchRequest, TopicName,
};

use super::Bootstrap;
use super::print::{json, out, table};
use crate::client::{Cluster, EARLIEST, LATEST, Result, commit_request, fail, refused, text};

/// What is done with groups.
#[derive(Debug, Subcommand)]
pub enum Groups {
    /// Names all groups with their states.
    List {
        #[command(flatten)]
        bootstrap: Bootstrap,
    },
    /// What a group has committed, how far behind it is, and who reads what.
    Describe {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// The group.
        group: String,
        /// One JSON object a partition, in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Moves a group's offsets for a topic. Only the plan is printed without --execute. The group must have no members.
    ResetOffsets(Reset),
    /// Forgets a group's offsets for a topic that it does not read.
    DeleteOffsets {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// The group.
        group: String,
        /// The topic.
        #[arg(long)]
        topic: String,
    },
    /// Deletes a group that has no members.
    Delete {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// The group.
        group: String,
    },
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("where").required(true).multiple(false)
    .args(["to_earliest", "to_latest", "to_offset", "to_datetime", "shift_by"])))]
pub struct Reset {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// The group.
    group: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// One partition; all otherwise.
    #[arg(long)]
    partition: Option<i32>,
    /// To the first record that is there.
    #[arg(long)]
    to_earliest: bool,
    /// To the end.
    #[arg(long)]
    to_latest: bool,
    /// To this offset, or the nearest one that is there.
    #[arg(long)]
    to_offset: Option<i64>,
    /// To the first record at or after this time, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    to_datetime: Option<std::time::SystemTime>,
    /// This many offsets on; back if negative.
    #[arg(long, allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// Does it.
    #[arg(long)]
    execute: bool,
}

pub async fn run(groups: Groups) -> Result<()> {
    match groups {
        Groups::List { bootstrap } => list(&mut bootstrap.connect().await?).await,
        Groups::Describe { bootstrap, group, json } => describe(&mut bootstrap.connect().await?, &group, json).await,
        Groups::ResetOffsets(reset) => move_offsets(&reset).await,
        Groups::DeleteOffsets { bootstrap, group, topic } => {
            let mut cluster = bootstrap.connect().await?;
            let partitions = 0..cluster.topic(&topic, false).await?.leaders.len() as i32;
            let one = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
            let wanted = OffsetDeleteRequestTopic::default()
                .with_name(TopicName(text(&*topic)))
                .with_partitions(partitions.map(one).collect());
            let request = OffsetDeleteRequest::default().with_group_id(GroupId(text(&*group))).with_topics(vec![wanted]);
            let coordinator = cluster.coordinator(&group).await?;
            let answer = cluster.node(coordinator).await?.ask(0, &request).await?;
            refused(&format!("group '{group}'"), answer.error_code, None)?;
            for gone in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                refused(&format!("group '{group}': {topic}-{}", gone.partition_index), gone.error_code, None)?;
            }
            Ok(())
        }
        Groups::Delete { bootstrap, group } => {
            let mut cluster = bootstrap.connect().await?;
            let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(&*group))]);
            let coordinator = cluster.coordinator(&group).await?;
            let answer = cluster.node(coordinator).await?.ask(2, &request).await?;
            answer.results.iter().try_for_each(|gone| refused(&format!("group '{group}'"), gone.error_code, None))
        }
    }
}

async fn list(cluster: &mut Cluster) -> Result<()> {
    let mut rows = Vec::new();
    for node in cluster.nodes() {
        let answer = cluster.node(node).await?.ask(4, &ListGroupsRequest::default()).await?;
        refused("groups", answer.error_code, None)?;
        rows.extend(
            answer
                .groups
                .iter()
                .map(|one| vec![one.group_id.0.to_string(), one.group_state.to_string(), one.protocol_type.to_string()]),
        );
    }
    rows.sort();
    out(table(&["GROUP", "STATE", "PROTOCOL"], &rows).as_bytes())?;
    Ok(())
}

/// A group's committed offsets, by topic and partition.
async fn stored(cluster: &mut Cluster, group: &str) -> Result<BTreeMap<(String, i32), i64>> {
    let coordinator = cluster.coordinator(group).await?;
    let request = OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(None);
    let answer = cluster.node(coordinator).await?.ask(7, &request).await?;
    refused(&format!("group '{group}'"), answer.error_code, None)?;
    let mut found = BTreeMap::new();
    for topic in &answer.topics {
        for partition in topic.partitions.iter().filter(|partition| partition.committed_offset >= 0) {
            found.insert((topic.name.0.to_string(), partition.partition_index), partition.committed_offset);
        }
    }
    Ok(found)
}

async fn describe(cluster: &mut Cluster, group: &str, as_json: bool) -> Result<()> {
    let coordinator = cluster.coordinator(group).await?;
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]);
    let answer = cluster.node(coordinator).await?.ask(5, &request).await?;
    let Some(told) = answer.groups.first() else { return fail(format!("group '{group}': no answer")) };
    refused(&format!("group '{group}'"), told.error_code, told.error_message.as_ref())?;
    let committed = stored(cluster, group).await?;
    if told.group_state.as_str() == "Dead" && committed.is_empty() {
        return fail(format!("group '{group}' does not exist"));
    }
    // Who reads what, also where nothing is committed yet.
    let mut readers = BTreeMap::new();
    for member in &told.members {
        for partition in decode_assignment(&member.member_assignment).unwrap_or_default() {
            let who = format!("{} {}", member.member_id, member.client_host);
            readers.insert((partition.topic.to_string(), partition.partition), who);
        }
    }
    let mut all: Vec<_> = committed.keys().chain(readers.keys()).cloned().collect();
    all.sort();
    all.dedup();
    let (mut rows, mut lines) = (Vec::new(), String::new());
    for (topic, partition) in all {
        let key = (topic.clone(), partition);
        // A topic may be gone while the group still remembers it.
        let end = cluster.offset(&topic, partition, LATEST).await.ok().flatten();
        let at = committed.get(&key).copied();
        let lag = at.zip(end).map(|(at, end)| end - at);
        let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let reader = readers.get(&key).cloned();
        let null = |number: Option<i64>| number.map_or_else(|| "null".to_owned(), |number| number.to_string());
        lines += &format!(
            "{{\"group\":{},\"topic\":{},\"partition\":{partition},\"committed\":{},\"end\":{},\"lag\":{},\"member\":{}}}\n",
            json(group),
            json(&topic),
            null(at),
            null(end),
            null(lag),
            reader.as_deref().map_or_else(|| "null".to_owned(), json)
        );
        rows.push(vec![
            topic,
            partition.to_string(),
            shown(at),
            shown(end),
            shown(lag),
            reader.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    if as_json {
        out(lines.as_bytes())?;
        return Ok(());
    }
    let headline = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER"];
    let head =
        format!("{group}: {}, {} members, assignor {}\n", told.group_state, told.members.len(), or_none(&told.protocol_data));
    out((head + &table(&headline, &rows)).as_bytes())?;
    Ok(())
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

async fn move_offsets(reset: &Reset) -> Result<()> {
    let mut cluster = reset.bootstrap.connect().await?;
    let topic = cluster.topic(&reset.topic, false).await?;
    let partitions: Vec<i32> = match reset.partition {
        Some(one) => vec![one],
        None => (0..topic.leaders.len() as i32).collect(),
    };
    let committed = stored(&mut cluster, &reset.group).await?;
    let (mut offsets, mut rows) = (BTreeMap::new(), Vec::new());
    for partition in partitions {
        let start = cluster.offset(&reset.topic, partition, EARLIEST).await?.unwrap_or(0);
        let end = cluster.offset(&reset.topic, partition, LATEST).await?.unwrap_or(0);
        let at = committed.get(&(reset.topic.clone(), partition)).copied();
        let wanted = if reset.to_earliest {
            start
        } else if let Some(offset) = reset.to_offset {
            offset
        } else if let Some(time) = reset.to_datetime {
            let time = time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
            cluster.offset(&reset.topic, partition, time).await?.unwrap_or(end)
        } else if let Some(by) = reset.shift_by {
            let Some(at) = at else {
                return fail(format!(
                    "group '{}' has committed nothing for {}-{partition}: --shift-by needs it",
                    reset.group, reset.topic
                ));
            };
            at.saturating_add(by)
        } else {
            end
        };
        let to = wanted.clamp(start, end);
        offsets.insert(partition, to);
        let from = at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        rows.push(vec![reset.topic.clone(), partition.to_string(), from, to.to_string()]);
    }
    if reset.execute {
        let coordinator = cluster.coordinator(&reset.group).await?;
        let answer = cluster.node(coordinator).await?.ask(8, &commit_request(&reset.group, &reset.topic, &offsets)).await?;
        for stored in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let what = format!(
                "group '{}': {}-{} (a group's offsets can be moved while it has no members)",
                reset.group, reset.topic, stored.partition_index
            );
            refused(&what, stored.error_code, None)?;
        }
    }
    let mut told = table(&["TOPIC", "PARTITION", "FROM", "TO"], &rows);
    if !reset.execute {
        told.push_str("nothing was changed: --execute does it\n");
    }
    out(told.as_bytes())?;
    Ok(())
}
