//! A consumer's membership in its group: a task of its own that joins, syncs, beats and leaves, so that a worker with a long
//! handler keeps its place. What it brings about is handed to `poll` as events; a revocation waits there for its answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_core::assignor::{self, MemberSubscription, Members, Topics, protocol};
use broker_core::{
    Broker, ErrorCode, GroupChanges, JoinGroup, JoinGroupReply, JoinedMember, MemberIdentity, PartitionHandle, SyncGroup,
};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{from_broker, to_broker};
use crate::client::config::{Assignor, ConsumerConfig};
use crate::client::{ClientError, ClientErrorKind, Subscription, TopicPartition};

/// How long to wait after a join that failed for a passing reason.
const JOIN_BACK_OFF: Duration = Duration::from_millis(100);
/// Commands that may wait for the task; there is at most one leave and one close.
const COMMANDS: usize = 4;

/// What the task hands to `poll`.
#[derive(Debug)]
pub(super) enum Event {
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
    Assigned(Vec<TopicPartition>),
    Failed(ClientError),
}

enum Command {
    /// Leave the group now; join again when `poll` is called.
    Leave(oneshot::Sender<()>),
    /// Leave and end.
    Close,
}

/// Who commits speak for.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub generation: i32,
    pub member_id: Arc<str>,
    /// A static member's own name.
    pub instance: Option<Arc<str>>,
}

impl Identity {
    pub fn to_broker(&self) -> MemberIdentity<'_> {
        MemberIdentity { generation: self.generation, member_id: &self.member_id, group_instance_id: self.instance.as_deref() }
    }
}

/// What task and consumer share.
struct Shared {
    state: Mutex<State>,
    /// How many events wait.
    events: watch::Sender<usize>,
    /// The same number: asked before each record, where even a lock that is free would count.
    waiting: AtomicUsize,
    /// `poll` has let revoked partitions go, or was called after a leave.
    polled: Notify,
    /// How often the member had another identity.
    identities: AtomicU64,
    progress: AtomicU64,
    /// How often `poll` was called.
    polls: AtomicU64,
    in_poll: AtomicBool,
}

struct State {
    events: VecDeque<Event>,
    identity: Identity,
    /// A revocation was handed out and not let go yet.
    revoking: bool,
    /// The member asks for the next generation: the coordinator may be in it already, the identity is not yet.
    joining: bool,
}

/// The consumer's end.
pub(super) struct Membership {
    shared: Arc<Shared>,
    pending: watch::Receiver<usize>,
    commands: mpsc::Sender<Command>,
    task: Option<JoinHandle<()>>,
    /// The identity as last looked at, and which one that was: a commit locks nothing while it stays the same.
    known: (u64, Identity),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the events and tells how many wait. Told under the lock: two tellings in the wrong order would hide an event.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let done = change(&mut state);
        self.waiting.store(state.events.len(), Ordering::Release);
        self.events.send_replace(state.events.len());
        done
    }

    fn push(&self, event: Event) {
        self.change(|state| state.events.push_back(event));
    }
}

impl Membership {
    pub fn start(
        broker: Broker,
        config: Arc<ConsumerConfig>,
        group: String,
        subscription: Subscription,
    ) -> Result<Self, ClientError> {
        let pattern = match &subscription {
            Subscription::Topics(_) => None,
            Subscription::Pattern(text) => Some(regex::Regex::new(&format!("^(?:{text})$")).map_err(|error| {
                ClientError::with_source(ClientErrorKind::Config, format!("the pattern '{text}' is no regular expression"), error)
            })?),
        };
        let (events, pending) = watch::channel(0);
        let instance = config.group_instance_id.as_deref().map(Arc::from);
        let nobody = Identity { generation: -1, member_id: Arc::from(""), instance };
        let state = State { events: VecDeque::new(), identity: nobody.clone(), revoking: false, joining: false };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            events,
            waiting: AtomicUsize::new(0),
            polled: Notify::new(),
            identities: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            polls: AtomicU64::new(0),
            in_poll: AtomicBool::new(false),
        });
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let changes = broker.group_changes();
        let member = Member {
            broker,
            config,
            group,
            subscription,
            pattern,
            shared: shared.clone(),
            commands: receiver,
            changes,
            owned: BTreeSet::new(),
            watched: Vec::new(),
            joined: Vec::new(),
            topics: Topics::new(),
            handles: BTreeMap::new(),
            metadata: 0,
            leads: false,
            seen_progress: (0, Instant::now()),
        };
        let task = Some(tokio::spawn(member.run()));
        Ok(Self { shared, pending, commands, task, known: (0, nobody) })
    }

    /// Looks at the identity again.
    pub fn refresh_identity(&mut self) {
        if self.shared.identities.load(Ordering::Acquire) != self.known.0 {
            let state = self.shared.lock();
            self.known = (self.shared.identities.load(Ordering::Acquire), state.identity.clone());
        }
    }

    /// As it was when it was last refreshed.
    pub fn identity(&self) -> &Identity {
        &self.known.1
    }

    /// Whether a rebalance came between: this is no longer the generation, or will soon not be, and the member is still in.
    pub fn has_moved_on(&self, from: &Identity) -> bool {
        let state = self.shared.lock();
        state.identity.generation >= 0 && (state.joining || state.identity.generation != from.generation)
    }

    pub fn has_event(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) > 0
    }

    /// Completes when there is an event; cancel-safe.
    pub fn event_signal(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut pending = self.pending.clone();
        async move {
            if pending.wait_for(|waiting| *waiting > 0).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub fn next_event(&self) -> Option<Event> {
        self.shared.change(|state| {
            if state.revoking {
                return None;
            }
            let event = state.events.pop_front();
            state.revoking = matches!(event, Some(Event::Revoked(_)));
            event
        })
    }

    /// Gives back what `next_event` gave, to be given again.
    pub fn put_back(&self, event: Event) {
        self.shared.change(|state| state.events.push_front(event));
    }

    /// `poll` was called: partitions whose revocation it had handed out are let go.
    pub fn poll_called(&self) {
        self.shared.lock().revoking = false;
        self.shared.polls.fetch_add(1, Ordering::AcqRel);
        self.mark_progress();
        self.shared.in_poll.store(true, Ordering::Release);
        self.shared.polled.notify_one();
    }

    pub fn poll_left(&self) {
        self.shared.in_poll.store(false, Ordering::Release);
        self.mark_progress();
    }

    /// Called by the consumer's owner alone: nobody else counts, so that it need not be one step.
    pub fn mark_progress(&self) {
        let progress = self.shared.progress.load(Ordering::Relaxed);
        self.shared.progress.store(progress.wrapping_add(1), Ordering::Release);
    }

    pub async fn leave(&self) {
        let (done, left) = oneshot::channel();
        if self.commands.send(Command::Leave(done)).await.is_ok() {
            let _ = left.await;
        }
    }

    pub async fn close(mut self) {
        let _ = self.commands.send(Command::Close).await;
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// The task's end.
struct Member {
    broker: Broker,
    config: Arc<ConsumerConfig>,
    group: String,
    subscription: Subscription,
    pattern: Option<regex::Regex>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    changes: GroupChanges,
    owned: BTreeSet<TopicPartition>,
    /// The topics whose partitions count: the subscribed ones; for the leader, those of all members.
    watched: Vec<Arc<str>>,
    /// The subscribed topics that it last joined with.
    joined: Vec<Arc<str>>,
    /// How many partitions they had.
    topics: Topics,
    /// One partition of each topic that it owns something of: it tells whether the topic was deleted, and perhaps made again.
    handles: BTreeMap<Arc<str>, Option<PartitionHandle>>,
    metadata: u64,
    leads: bool,
    /// A count of progress, and when it was first seen.
    seen_progress: (u64, Instant),
}

/// What a phase of the membership leads to.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Join,
    Stable,
    /// The worker was silent too long, or asked to leave: joins when it polls.
    Away,
    /// It cannot go on, which the worker was told: waits for its end.
    Out,
    Closed,
}

impl Member {
    async fn run(mut self) {
        let mut next = self.wait_for_poll(0).await;
        loop {
            next = match next {
                Next::Join => {
                    self.shared.lock().joining = true;
                    self.join().await
                }
                Next::Stable => {
                    self.shared.lock().joining = false;
                    self.stay().await
                }
                Next::Away => {
                    let polls = self.shared.polls.load(Ordering::Acquire);
                    self.wait_for_poll(polls).await
                }
                Next::Out => self.or_command(std::future::pending::<Next>()).await.unwrap_or_else(|next| next),
                Next::Closed => return,
            };
        }
    }

    /// The protocol that all the configured assignors allow: cooperative only if each of them is.
    fn cooperative(&self) -> bool {
        self.config.assignors.iter().all(|assignor| *assignor == Assignor::CooperativeSticky)
    }

    fn identity(&self) -> Identity {
        self.shared.lock().identity.clone()
    }

    fn set_identity(&self, generation: i32, member_id: &str) {
        let mut state = self.shared.lock();
        (state.identity.generation, state.identity.member_id) = (generation, Arc::from(member_id));
        self.shared.identities.fetch_add(1, Ordering::AcqRel);
    }

    fn subscribed(&self) -> Vec<Arc<str>> {
        match &self.subscription {
            Subscription::Topics(names) => names.clone(),
            Subscription::Pattern(_) => {
                let matches = |name: &str| self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(name));
                self.broker
                    .topics()
                    .into_iter()
                    .filter(|topic| !topic.internal && matches(&topic.name))
                    .map(|topic| topic.name)
                    .collect()
            }
        }
    }

    fn watch(&mut self, names: Vec<Arc<str>>) {
        self.topics = self.counts(&names);
        self.watched = names;
    }

    fn counts(&self, names: &[Arc<str>]) -> Topics {
        names.iter().filter_map(|name| self.broker.topic(name).map(|topic| (topic.name, topic.partitions))).collect()
    }

    /// Everything is somebody else's: the worker is told, the member starts over.
    fn lose(&mut self, forget_id: bool) {
        let owned: Vec<_> = std::mem::take(&mut self.owned).into_iter().collect();
        self.shared.change(|state| {
            state.identity.generation = -1;
            if forget_id {
                state.identity.member_id = Arc::from("");
            }
            // A revocation that still waits speaks of the same partitions; being lost is the stronger news.
            state.events.retain(|event| matches!(event, Event::Failed(_)));
            if !owned.is_empty() {
                state.events.push_back(Event::Lost(owned));
            }
        });
    }

    async fn join(&mut self) -> Next {
        if let Subscription::Topics(names) = &self.subscription
            && self.config.allow_auto_create_topics
        {
            for name in names {
                if let Err(error) = self.broker.topic_or_create(name) {
                    tracing::debug!(target: "kafka_listener::client", topic = %name, %error, "subscribed topic is not there");
                }
            }
        }
        if !self.cooperative() && !self.owned.is_empty() {
            let owned = self.owned.iter().cloned().collect();
            if let Some(next) = self.revoke(owned).await {
                return next;
            }
        }
        self.metadata = self.broker.metadata_epoch();
        let names = self.subscribed();
        self.watch(names.clone());
        self.joined.clone_from(&names);
        let identity = self.identity();
        let owned = self.owned.iter().map(to_broker).collect();
        let subscription = MemberSubscription { topics: names, owned, generation: identity.generation };
        let metadata = protocol::encode_subscription(&subscription);
        let request = JoinGroup {
            group: self.group.clone(),
            member_id: identity.member_id.to_string(),
            client_id: self.config.client_id.clone(),
            client_host: "in-process".to_owned(),
            session_timeout_ms: self.config.session_timeout.as_millis() as u64,
            rebalance_timeout_ms: self.config.max_poll_interval.as_millis() as u64,
            protocol_type: "consumer".to_owned(),
            protocols: self.config.assignors.iter().map(|assignor| (assignor.name().to_owned(), metadata.clone())).collect(),
            group_instance_id: self.config.group_instance_id.clone(),
            // Back as the leader of a group where nothing else has changed, it need not hand anything out.
            skips_assignment: true,
        };
        let joined = self.broker.join_group(request);
        match self.or_command(joined).await {
            Ok(Ok(reply)) => self.sync(reply, identity.member_id.is_empty() && identity.instance.is_some()).await,
            Ok(Err(error)) => self.join_failed(error).await,
            Err(next) => next,
        }
    }

    async fn join_failed(&mut self, error: broker_core::Error) -> Next {
        match error.code() {
            ErrorCode::UnknownMemberId => self.lose(true),
            ErrorCode::IllegalGeneration => self.lose(false),
            ErrorCode::RebalanceInProgress => {}
            ErrorCode::CoordinatorNotAvailable => {
                if let Err(next) = self.or_command(tokio::time::sleep(JOIN_BACK_OFF)).await {
                    return next;
                }
            }
            ErrorCode::FencedInstanceId => return self.fenced(error),
            _ => {
                let text = format!("group '{}' cannot be joined: {error}", self.group);
                self.shared.push(Event::Failed(ClientError::with_source(ClientErrorKind::Config, text, error)));
                return Next::Out;
            }
        }
        Next::Join
    }

    /// Another has this member's own name: to join again would only put that one out in turn, and so on.
    fn fenced(&mut self, error: broker_core::Error) -> Next {
        self.lose(true);
        let name = self.config.group_instance_id.as_deref().unwrap_or_default();
        let text =
            format!("group '{}': another member is '{name}' now, by group.instance.id; give each a name of its own", self.group);
        self.shared.push(Event::Failed(ClientError::with_source(ClientErrorKind::Config, text, error)));
        Next::Out
    }

    /// Leaves the group. A static member does not: its place is kept until its session ends, should it come back.
    fn leave_group(&self) {
        let identity = self.identity();
        if identity.instance.is_none() && !identity.member_id.is_empty() {
            // A member that was put out already has left.
            let _ = self.broker.leave_group(&self.group, identity.to_broker());
        }
    }

    /// Gets the assignment. `back`: a static member may be so, in a generation that was made without it.
    async fn sync(&mut self, reply: JoinGroupReply, back: bool) -> Next {
        self.set_identity(reply.generation, &reply.member_id);
        self.leads = reply.leader == reply.member_id;
        let assignments = if self.leads { self.assign(&reply) } else { Vec::new() };
        // What the coordinator keeps from before the leader came back is not handed out anew.
        let assignments = if reply.skip_assignment { Vec::new() } else { assignments };
        let request = SyncGroup {
            group: self.group.clone(),
            generation: reply.generation,
            member_id: reply.member_id.clone(),
            assignments,
            group_instance_id: self.config.group_instance_id.clone(),
            ..SyncGroup::default()
        };
        let synced = self.broker.sync_group(request);
        let assignment = match self.or_command(synced).await {
            Ok(Ok(reply)) => reply.assignment,
            Ok(Err(error)) => return self.join_failed(error).await,
            Err(next) => return next,
        };
        let given: BTreeSet<TopicPartition> = match protocol::decode_assignment(&assignment) {
            Ok(given) => given.into_iter().map(from_broker).collect(),
            Err(error) => {
                tracing::error!(target: "kafka_listener::client", group = %self.group, %error, "the leader's assignment cannot be read; joining again");
                return Next::Join;
            }
        };
        let revoked: Vec<_> = self.owned.difference(&given).cloned().collect();
        let added: Vec<_> = given.difference(&self.owned).cloned().collect();
        let again = !revoked.is_empty();
        if again && let Some(next) = self.revoke(revoked).await {
            return next;
        }
        self.own(given);
        self.shared.push(Event::Assigned(added));
        // What was given up is handed out in the next round; and so is what changed while the member was away.
        if again || back && !self.all_is_held() { Next::Join } else { Next::Stable }
    }

    /// Whether the group's members hold all partitions that there are now of the watched topics; where this one leads, and watches
    /// everybody's, also whether they hold nothing else.
    fn all_is_held(&self) -> bool {
        let Some(group) = self.broker.describe_group(&self.group) else { return false };
        let held = group.members.iter().filter_map(|member| protocol::decode_assignment(&member.assignment).ok()).flatten();
        let held: BTreeSet<TopicPartition> = held.map(from_broker).collect();
        let there = self.topics.iter().flat_map(|(topic, count)| (0..*count).map(move |number| (topic.clone(), number)));
        let there: BTreeSet<_> = there.map(|(topic, partition)| TopicPartition { topic, partition }).collect();
        if self.leads { held == there } else { held.is_superset(&there) }
    }

    /// The leader's work: one assignor for all.
    fn assign(&mut self, reply: &JoinGroupReply) -> Vec<(String, Bytes)> {
        let decode = |member: &JoinedMember| {
            (member.member_id.clone(), protocol::decode_subscription(&member.metadata).unwrap_or_default())
        };
        let members: Members = reply.members.iter().map(decode).collect();
        let mut names: Vec<Arc<str>> = members.values().flat_map(|member| member.topics.iter().cloned()).collect();
        names.sort();
        names.dedup();
        self.watch(names);
        let topics = &self.topics;
        let assignments = match Assignor::of(&reply.protocol).unwrap_or(Assignor::Range) {
            Assignor::Range => assignor::range(&members, topics),
            Assignor::RoundRobin => assignor::round_robin(&members, topics),
            Assignor::Sticky => assignor::sticky(&members, topics),
            Assignor::CooperativeSticky => assignor::cooperative_sticky(&members, topics),
        };
        assignments.into_iter().map(|(id, list)| (id, protocol::encode_assignment(&list))).collect()
    }

    /// Hands a revocation to `poll` and waits until it is let go; the member goes on beating meanwhile. Until then the
    /// partitions count as owned, so that they are lost with the rest if the member is put out or leaves.
    async fn revoke(&mut self, partitions: Vec<TopicPartition>) -> Option<Next> {
        self.shared.push(Event::Revoked(partitions.clone()));
        loop {
            let let_go = {
                let state = self.shared.lock();
                !state.revoking && !state.events.iter().any(|event| matches!(event, Event::Revoked(_)))
            };
            if let_go {
                self.owned.retain(|partition| !partitions.contains(partition));
                return None;
            }
            let beat = tokio::time::sleep(self.config.heartbeat_interval);
            let shared = self.shared.clone();
            let step = async move {
                tokio::select! {
                    biased;
                    () = shared.polled.notified() => false,
                    () = beat => true,
                }
            };
            let beat = match self.or_command(step).await {
                Ok(beat) => beat,
                Err(next) => return Some(next),
            };
            if beat {
                let identity = self.identity();
                match self.broker.heartbeat(&self.group, identity.to_broker()) {
                    Err(error) if error.code() == ErrorCode::FencedInstanceId => return Some(self.fenced(error)),
                    Err(error) if error.code() != ErrorCode::RebalanceInProgress => {
                        self.lose(true);
                        return Some(Next::Join);
                    }
                    _ if self.is_late() => {
                        self.leave_group();
                        self.lose(true);
                        return Some(Next::Away);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Beats until something changes.
    async fn stay(&mut self) -> Next {
        let mut metadata = std::pin::pin!(self.broker.metadata_changed(self.metadata));
        loop {
            let late_at = self.late_at();
            let next_beat = Instant::now() + self.config.heartbeat_interval;
            let wake = next_beat.min(late_at);
            enum Step {
                Beat,
                Metadata(u64),
            }
            self.changes.mark_seen();
            let identity = self.identity();
            // A change before this look is seen by the beat, one behind it by the channel.
            match self.beat(&identity) {
                None => {}
                Some(next) => return next,
            }
            let step = tokio::select! {
                biased;
                command = self.commands.recv() => return self.obey(command),
                () = self.changes.changed() => Step::Beat,
                epoch = metadata.as_mut() => Step::Metadata(epoch),
                () = tokio::time::sleep_until(wake) => Step::Beat,
            };
            match step {
                Step::Metadata(epoch) => {
                    self.metadata = epoch;
                    return self.metadata_changed();
                }
                Step::Beat if self.is_late() => {
                    tracing::warn!(target: "kafka_listener::client", group = %self.group, member = %identity.member_id, limit = ?self.config.max_poll_interval, "no poll for max.poll.interval.ms: the member leaves");
                    self.leave_group();
                    self.lose(true);
                    return Next::Away;
                }
                Step::Beat => {}
            }
        }
    }

    fn own(&mut self, given: BTreeSet<TopicPartition>) {
        self.handles = given.iter().map(|one| (one.topic.clone(), self.broker.partition(&one.topic, 0).ok())).collect();
        self.owned = given;
    }

    fn metadata_changed(&mut self) -> Next {
        let there = |handle: &Option<PartitionHandle>| handle.as_ref().is_some_and(|handle| !handle.is_deleted());
        let (handles, mut gone) = (&self.handles, Vec::new());
        self.owned.retain(|partition| {
            let stays = handles.get(&partition.topic).is_some_and(there);
            if !stays {
                gone.push(partition.clone());
            }
            stays
        });
        if !gone.is_empty() {
            // Nothing may be committed for them: under the same name there may be a new topic already.
            self.shared.push(Event::Lost(gone));
            return Next::Join;
        }
        // Of a pattern's new topics each member learns by itself, of new partitions from the leader.
        let matches_others = self.pattern.is_some() && self.subscribed() != self.joined;
        let grown = self.leads && self.counts(&self.watched) != self.topics;
        if matches_others || grown { Next::Join } else { Next::Stable }
    }

    fn beat(&mut self, identity: &Identity) -> Option<Next> {
        match self.broker.heartbeat(&self.group, identity.to_broker()) {
            Ok(()) => None,
            Err(error) if error.code() == ErrorCode::RebalanceInProgress => Some(Next::Join),
            Err(error) if error.code() == ErrorCode::FencedInstanceId => Some(self.fenced(error)),
            Err(error) => {
                tracing::info!(target: "kafka_listener::client", group = %self.group, %error, "the member was put out; joining anew");
                self.lose(error.code() == ErrorCode::UnknownMemberId);
                Some(Next::Join)
            }
        }
    }

    /// When the worker counts as gone, seen from now.
    fn late_at(&mut self) -> Instant {
        let progress = self.shared.progress.load(Ordering::Acquire);
        if progress != self.seen_progress.0 || self.shared.in_poll.load(Ordering::Acquire) {
            self.seen_progress = (progress, Instant::now());
        }
        self.seen_progress.1 + self.config.max_poll_interval
    }

    fn is_late(&mut self) -> bool {
        self.late_at() <= Instant::now()
    }

    /// A member joins by being polled: one that nobody polls would only hold partitions.
    async fn wait_for_poll(&mut self, polls: u64) -> Next {
        loop {
            if self.shared.polls.load(Ordering::Acquire) != polls || self.shared.in_poll.load(Ordering::Acquire) {
                return Next::Join;
            }
            let shared = self.shared.clone();
            match self.or_command(async move { shared.polled.notified().await }).await {
                Ok(()) | Err(Next::Away) => {}
                Err(next) => return next,
            }
        }
    }

    /// Waits for something, or obeys a command that comes first.
    async fn or_command<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, Next> {
        tokio::select! {
            biased;
            command = self.commands.recv() => Err(self.obey(command)),
            done = wait => Ok(done),
        }
    }

    fn obey(&mut self, command: Option<Command>) -> Next {
        self.leave_group();
        match command {
            Some(Command::Leave(done)) => {
                self.lose(true);
                let _ = done.send(());
                Next::Away
            }
            Some(Command::Close) | None => Next::Closed,
        }
    }
}
