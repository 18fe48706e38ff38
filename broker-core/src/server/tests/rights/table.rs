//! Which right each API needs: a table, which an API that is not in it fails.

use super::super::{APIS, Bench};
use super::{ask, guarded, may};
use crate::security::Operation::{
    self, Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read, Write,
};
use crate::security::ResourceKind::{self, Cluster, Group, Topic, TransactionalId};

/// Operations on topic `t` (or `new`, where one is made), group `g`, transactional id `x` and the cluster.
type Rights = &'static [(Operation, ResourceKind)];

/// What everybody may ask: who the broker is, which versions it speaks, and to be let in.
const FREE: &[i16] = &[17, 18, 36, 60];

/// An API; sets of rights, each of which is enough, and nothing less is; the error of who has none; that of who has them.
const NEEDS: &[(i16, &[Rights], i16, i16)] = &[
    (0, &[&[(Write, Topic)]], 29, 0),
    (1, &[&[(Read, Topic)]], 29, 0),
    (2, &[&[(Describe, Topic)], &[(Read, Topic)]], 29, 0),
    (3, &[&[(Describe, Topic)], &[(Write, Topic)]], 29, 0),
    (8, &[&[(Read, Group), (Read, Topic)]], 30, 0),
    (9, &[&[(Describe, Group), (Describe, Topic)], &[(Read, Group), (Read, Topic)]], 30, 0),
    (10, &[&[(Describe, Group)], &[(Read, Group)]], 30, 0),
    // A member needs an id first.
    (11, &[&[(Read, Group)]], 30, 79),
    // Nobody is a member.
    (12, &[&[(Read, Group)]], 30, 25),
    (13, &[&[(Read, Group)]], 30, 25),
    (14, &[&[(Read, Group)]], 30, 25),
    (15, &[&[(Describe, Group)], &[(Read, Group)]], 30, 0),
    (16, &[&[(Describe, Group)], &[(Describe, Cluster)]], 30, 0),
    (19, &[&[(Create, Topic)], &[(Create, Cluster)]], 29, 0),
    (20, &[&[(Delete, Topic)]], 29, 0),
    (21, &[&[(Delete, Topic)]], 29, 0),
    (22, &[&[(IdempotentWrite, Cluster)], &[(Write, Topic)]], 31, 0),
    (23, &[&[(Describe, Topic)], &[(Read, Topic)], &[(ClusterAction, Cluster)]], 29, 0),
    // Nobody has a transaction.
    (24, &[&[(Write, TransactionalId), (Write, Topic)]], 53, 49),
    (25, &[&[(Write, TransactionalId), (Read, Group)]], 53, 49),
    (26, &[&[(Write, TransactionalId)]], 53, 49),
    (27, &[&[(ClusterAction, Cluster)], &[(Alter, Cluster)]], 31, 0),
    // Nobody has the transactional id.
    (28, &[&[(Write, TransactionalId), (Read, Group), (Read, Topic)]], 53, 49),
    (29, &[&[(Describe, Cluster)], &[(Alter, Cluster)]], 31, 0),
    (30, &[&[(Alter, Cluster)]], 31, 0),
    (31, &[&[(Alter, Cluster)]], 31, 0),
    (32, &[&[(DescribeConfigs, Topic)], &[(AlterConfigs, Topic)]], 29, 0),
    (33, &[&[(AlterConfigs, Topic)]], 29, 0),
    (35, &[&[(Describe, Cluster)]], 31, 0),
    (37, &[&[(Alter, Topic)]], 29, 0),
    (42, &[&[(Delete, Group)]], 30, 0),
    // No election is needed.
    (43, &[&[(Alter, Cluster)]], 31, 84),
    (44, &[&[(AlterConfigs, Topic)]], 29, 0),
    (45, &[&[(Alter, Cluster)]], 31, 0),
    (46, &[&[(Describe, Cluster)]], 31, 0),
    (47, &[&[(Delete, Group), (Read, Topic)]], 30, 0),
    (48, &[&[(DescribeConfigs, Cluster)]], 31, 0),
    (49, &[&[(AlterConfigs, Cluster)]], 31, 0),
    (50, &[&[(Describe, Cluster)]], 31, 0),
    // There is no such user.
    (51, &[&[(Alter, Cluster)]], 31, 91),
    (61, &[&[(Read, Topic)]], 29, 0),
    // Nothing is known by the id.
    (65, &[&[(Describe, TransactionalId)], &[(Write, TransactionalId)]], 53, 105),
    (66, &[&[(Describe, TransactionalId)], &[(Write, TransactionalId)]], 53, 0),
    (75, &[&[(Describe, Topic)], &[(Read, Topic)]], 29, 0),
];

/// All rights there are.
const ALL: Rights = &[
    (Read, Topic),
    (Write, Topic),
    (Create, Topic),
    (Delete, Topic),
    (Alter, Topic),
    (Describe, Topic),
    (DescribeConfigs, Topic),
    (AlterConfigs, Topic),
    (Read, Group),
    (Delete, Group),
    (Describe, Group),
    (Create, Cluster),
    (Alter, Cluster),
    (Describe, Cluster),
    (ClusterAction, Cluster),
    (DescribeConfigs, Cluster),
    (AlterConfigs, Cluster),
    (IdempotentWrite, Cluster),
    (Write, TransactionalId),
    (Describe, TransactionalId),
];

fn grant(bench: &Bench, rights: &[(Operation, ResourceKind)]) {
    for (operation, kind) in rights {
        may(bench, *operation, *kind);
    }
}

async fn asked(bench: &mut Bench, key: i16, version: i16) -> i16 {
    ask::error(bench, key, version).await.unwrap_or_else(|| panic!("API {key}: nobody has said here how it is asked"))
}

#[tokio::test]
async fn no_api_lacks_a_right() {
    for api in APIS {
        let said = NEEDS.iter().filter(|row| row.0 == api.key).count() + FREE.iter().filter(|key| **key == api.key).count();
        assert_eq!(said, 1, "{} ({}): say in one of the tables which right it needs", api.name, api.key);
    }
}

#[tokio::test]
async fn without_a_right_every_version_is_refused() {
    let mut bench = guarded().await;
    for (key, _, refused, _) in NEEDS {
        let api = APIS.iter().find(|api| api.key == *key).expect("served");
        for version in api.read_min..=api.max {
            assert_eq!(asked(&mut bench, *key, version).await, *refused, "{} {version}", api.name);
        }
    }
    // And nothing was done.
    let broker = &bench.broker;
    assert_eq!(broker.topic("t").map(|topic| topic.partitions), Some(2));
    assert_eq!(broker.topic("new"), None);
    assert_eq!(broker.partition("t", 0).expect("there").end_offset(), 0);
    assert_eq!(broker.fetch_offsets("g", None).len(), 1);
    assert!(broker.acls().describe(&Default::default()).is_empty());
}

#[tokio::test]
async fn with_the_right_it_is_done_and_with_all_but_it_is_not() {
    for (key, sets, refused, done) in NEEDS {
        let api = APIS.iter().find(|api| api.key == *key).expect("served");
        for rights in *sets {
            let mut bench = guarded().await;
            for (at, right) in rights.iter().enumerate() {
                let lacks = match right.1 {
                    _ if at == 0 => *refused,
                    Group => 30,
                    _ => 29,
                };
                assert_eq!(asked(&mut bench, *key, api.max).await, lacks, "{} {at}", api.name);
                grant(&bench, &[*right]);
            }
            assert_eq!(asked(&mut bench, *key, api.max).await, *done, "{} with {rights:?}", api.name);
        }
        // Every other right there is does not help: what is enough is all in the table.
        let enough: Vec<_> = sets.iter().map(|rights| rights[0]).collect();
        let implied = |(operation, kind): &(Operation, ResourceKind)| {
            enough.contains(&(Describe, *kind)) && matches!(operation, Read | Write | Delete | Alter)
                || enough.contains(&(DescribeConfigs, *kind)) && *operation == AlterConfigs
        };
        let others: Vec<_> = ALL.iter().filter(|right| !enough.contains(right) && !implied(right)).copied().collect();
        let mut bench = guarded().await;
        grant(&bench, &others);
        assert_eq!(asked(&mut bench, *key, api.max).await, *refused, "{} with {others:?}", api.name);
    }
}
