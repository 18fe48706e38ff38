// franz-go: pure Go, with the newest versions of everything.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func topic(name string) string { return fmt.Sprintf("%s-%08x", name, rand.Uint32()) }

func client(options ...kgo.Opt) *kgo.Client {
	one, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(os.Getenv("BOOTSTRAP"))}, options...)...)
	must(err)
	return one
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Errorf("expected %v, found %v", expected, found))
	}
}

func numbers(count int) []string {
	values := make([]string, count)
	for number := range values {
		values[number] = fmt.Sprint(number)
	}
	return values
}

func produce(ctx context.Context, name string, values []string, options ...kgo.Opt) {
	one := client(append([]kgo.Opt{kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)...)
	defer one.Close()
	records := make([]*kgo.Record, len(values))
	for i, value := range values {
		records[i] = &kgo.Record{Topic: name, Value: []byte(value)}
	}
	must(one.ProduceSync(ctx, records...).FirstErr())
}

// take polls until there are so many values.
func take(ctx context.Context, one *kgo.Client, count int) (values []string, first int64) {
	first = -1
	for len(values) < count {
		fetches := one.PollFetches(ctx)
		must(ctx.Err())
		for _, failed := range fetches.Errors() {
			panic(failed.Err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if first < 0 {
				first = record.Offset
			}
			values = append(values, string(record.Value))
		})
	}
	return values, first
}

func at(name string, offset int64) kgo.Opt {
	return kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().At(offset)}})
}

func produceConsume(ctx context.Context) {
	name := topic("franz")
	produce(ctx, name, numbers(5000))
	reader := client(at(name, 0))
	defer reader.Close()
	found, _ := take(ctx, reader, 5000)
	equal(found, numbers(5000))
}

func codecs(ctx context.Context) {
	for i, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		name := topic(fmt.Sprintf("franz-codec-%d", i))
		values := make([]string, 300)
		for number := range values {
			values[number] = strings.Repeat(fmt.Sprintf("value %d ", number), 20)
		}
		produce(ctx, name, values, kgo.ProducerBatchCompression(codec))
		reader := client(at(name, 0))
		found, _ := take(ctx, reader, 300)
		reader.Close()
		equal(found, values)
	}
}

func seek(ctx context.Context) {
	name := topic("franz-seek")
	produce(ctx, name, numbers(100))
	reader := client(at(name, 90))
	defer reader.Close()
	_, first := take(ctx, reader, 10)
	equal(first, int64(90))
	reader.SetOffsets(map[string]map[int32]kgo.EpochOffset{name: {0: {Epoch: -1, Offset: 10}}})
	_, first = take(ctx, reader, 90)
	equal(first, int64(10))
}

func acks(ctx context.Context) {
	name := topic("franz-acks")
	produce(ctx, name, []string{"none"}, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	produce(ctx, name, []string{"leader"}, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	reader := client(at(name, 0))
	defer reader.Close()
	found, _ := take(ctx, reader, 2)
	equal(found, []string{"none", "leader"})
}

func member(name, group string, options ...kgo.Opt) *kgo.Client {
	return client(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(200 * time.Millisecond),
	}, options...)...)
}

// stable waits until a group has so many members and is at rest.
func stable(ctx context.Context, admin *kadm.Client, group string, members int) kadm.DescribedGroup {
	for {
		described, err := admin.DescribeGroups(ctx, group)
		must(err)
		if one := described[group]; one.State == "Stable" && len(one.Members) == members {
			return one
		}
		must(ctx.Err())
		time.Sleep(50 * time.Millisecond)
	}
}

func groupRebalance(ctx context.Context) {
	name, group := topic("franz-group"), topic("group")
	admin := kadm.NewClient(client())
	defer admin.Close()
	_, err := admin.CreateTopic(ctx, 4, 1, nil, name)
	must(err)
	produce(ctx, name, numbers(50))
	first := member(name, group)
	found, _ := take(ctx, first, 50)
	equal(found, numbers(50))
	must(first.CommitUncommittedOffsets(ctx))
	second := member(name, group)
	shared := stable(ctx, admin, group, 2)
	partitions := map[int32]bool{}
	for _, one := range shared.Members {
		assigned, ok := one.Assigned.AsConsumer()
		equal(ok, true)
		for _, topic := range assigned.Topics {
			for _, partition := range topic.Partitions {
				partitions[partition] = true
			}
		}
	}
	first.Close()
	stable(ctx, admin, group, 1)
	produce(ctx, name, []string{"more"})
	found, _ = take(ctx, second, 1)
	equal(found, []string{"more"})
	second.Close()
}

func commitAndGoOn(ctx context.Context) {
	name, group := topic("franz-commit"), topic("group")
	produce(ctx, name, numbers(100))
	one := member(name, group)
	take(ctx, one, 40)
	var told error
	done := func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		told = err
		if err == nil {
			told = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
		}
	}
	one.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{name: {0: {Epoch: -1, Offset: 40}}}, done)
	must(told)
	one.Close()
	again := member(name, group)
	defer again.Close()
	_, first := take(ctx, again, 60)
	equal(first, int64(40))
}

func idempotent(ctx context.Context) {
	name := topic("franz-idempotent")
	produce(ctx, name, numbers(3000), kgo.MaxBufferedRecords(100), kgo.ProducerLinger(0))
	reader := client(at(name, 0))
	defer reader.Close()
	found, _ := take(ctx, reader, 3000)
	equal(found, numbers(3000))
}

func topics(ctx context.Context) {
	name := topic("franz-admin")
	admin := kadm.NewClient(client())
	defer admin.Close()
	made, err := admin.CreateTopic(ctx, 3, 1, nil, name)
	must(err)
	equal(made.NumPartitions, int32(3))
	_, err = admin.CreateTopic(ctx, 3, 1, nil, name)
	equal(errors.Is(err, kerr.TopicAlreadyExists), true)
	grown, err := admin.UpdatePartitions(ctx, 5, name)
	must(err)
	must(grown.Error())
	listed, err := admin.ListTopics(ctx, name)
	must(err)
	equal(len(listed[name].Partitions), 5)
	ends, err := admin.ListEndOffsets(ctx, name)
	must(err)
	equal(len(ends[name]), 5)
	brokers, err := admin.ListBrokers(ctx)
	must(err)
	equal(len(brokers), 1)
	gone, err := admin.DeleteTopic(ctx, name)
	must(err)
	must(gone.Err)
	// The client that asked before answers from its own memory.
	fresh := kadm.NewClient(client())
	defer fresh.Close()
	listed, err = fresh.ListTopics(ctx)
	must(err)
	equal(listed.Has(name), false)
}

func groupsAdmin(ctx context.Context) {
	name, group := topic("franz-groups"), topic("group")
	admin := kadm.NewClient(client())
	defer admin.Close()
	_, err := admin.CreateTopic(ctx, 1, 1, nil, name)
	must(err)
	offsets := kadm.Offsets{}
	offsets.AddOffset(name, 0, 7, -1)
	must(admin.CommitAllOffsets(ctx, group, offsets))
	kept, err := admin.FetchOffsets(ctx, group)
	must(err)
	equal(kept[name][0].At, int64(7))
	listed, err := admin.ListGroups(ctx)
	must(err)
	equal(listed[group].Group, group)
	deleted, err := admin.DeleteOffsets(ctx, group, kadm.TopicsSet{name: {0: {}}})
	must(err)
	must(deleted.Error())
	_, err = admin.DeleteGroup(ctx, group)
	must(err)
	listed, err = admin.ListGroups(ctx)
	must(err)
	_, there := listed[group]
	equal(there, false)
}

func main() {
	scenarios := []struct {
		name string
		run  func(context.Context)
	}{
		{"produce-consume", produceConsume}, {"codecs", codecs}, {"seek", seek}, {"acks", acks},
		{"group-rebalance", groupRebalance}, {"commit-and-go-on", commitAndGoOn}, {"idempotent-producer", idempotent},
		{"topics", topics}, {"groups-admin", groupsAdmin},
	}
	failed := 0
	for _, one := range scenarios {
		if len(os.Args) > 1 && os.Args[1] != one.name {
			continue
		}
		func() {
			ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
			defer cancel()
			defer func() {
				if cause := recover(); cause != nil {
					fmt.Printf("FAILED franz %s: %v\n", one.name, cause)
					failed = 1
					return
				}
				fmt.Printf("ok franz %s\n", one.name)
			}()
			one.run(ctx)
		}()
	}
	os.Exit(failed)
}
