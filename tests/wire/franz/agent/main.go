// The agent of franz-go: a line in is a command, a line out is its answer (see tests/wire/transactions/run.py).
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 20 * time.Second

var producers = map[string]*kgo.Client{}

// How producers were made, for the sessions that consume as well.
var options = map[string][]kgo.Opt{}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func number(word string) int {
	value, err := strconv.Atoi(word)
	must(err)
	return value
}

func seeds() kgo.Opt { return kgo.SeedBrokers(os.Getenv("BOOTSTRAP")) }

func send(ctx context.Context, one interface {
	ProduceSync(context.Context, ...*kgo.Record) kgo.ProduceResults
}, topic string, partition int, values ...string) {
	records := make([]*kgo.Record, len(values))
	for i, value := range values {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte(value)}
	}
	must(one.ProduceSync(ctx, records...).FirstErr())
}

// take polls until there are so many records, and no more.
func take(ctx context.Context, poll func(context.Context, int) kgo.Fetches, count int) (found []*kgo.Record) {
	for len(found) < count {
		fetches := poll(ctx, count-len(found))
		must(ctx.Err())
		for _, failed := range fetches.Errors() {
			panic(failed.Err)
		}
		found = append(found, fetches.Records()...)
	}
	return found
}

func told(found []*kgo.Record) string {
	words := make([]string, len(found))
	for i, record := range found {
		words[i] = fmt.Sprintf("%s@%d", record.Value, record.Offset)
	}
	return strings.Join(words, " ")
}

func read(ctx context.Context, words []string) string {
	isolation := kgo.ReadCommitted()
	if words[0] == "uncommitted" {
		isolation = kgo.ReadUncommitted()
	}
	from := map[string]map[int32]kgo.Offset{words[1]: {int32(number(words[2])): kgo.NewOffset().AtStart()}}
	one, err := kgo.NewClient(seeds(), kgo.FetchIsolationLevel(isolation), kgo.ConsumePartitions(from))
	must(err)
	defer one.Close()
	return told(take(ctx, one.PollRecords, number(words[3])))
}

// transform uses the client's own session, which is a producer and a member at once: it takes over from the one of that name.
func transform(ctx context.Context, words []string) string {
	name, group, source, target, count, commit := words[0], words[1], words[2], words[3], number(words[4]), words[5] == "commit"
	session, err := kgo.NewGroupTransactSession(append(options[name],
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
	)...)
	must(err)
	defer session.Close()
	found := take(ctx, session.PollRecords, count)
	must(session.Begin())
	values := make([]string, len(found))
	for i, record := range found {
		values[i] = strings.ToUpper(string(record.Value))
	}
	send(ctx, session, target, 0, values...)
	committed, err := session.End(ctx, kgo.TransactionEndTry(commit))
	must(err)
	if committed != commit {
		panic(fmt.Errorf("committed: %v", committed))
	}
	return told(found)
}

func answer(ctx context.Context, words []string) string {
	command, words := words[0], words[1:]
	switch command {
	case "producer":
		options[words[0]] = []kgo.Opt{
			seeds(), kgo.TransactionalID(words[1]), kgo.TransactionTimeout(time.Duration(number(words[2])) * time.Millisecond),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
		}
		one, err := kgo.NewClient(options[words[0]]...)
		must(err)
		_, _, err = one.ProducerID(ctx)
		must(err)
		producers[words[0]] = one
	case "begin":
		must(producers[words[0]].BeginTransaction())
	case "send":
		send(ctx, producers[words[0]], words[1], number(words[2]), words[3:]...)
	case "commit":
		must(producers[words[0]].EndTransaction(ctx, kgo.TryCommit))
	case "abort":
		must(producers[words[0]].EndTransaction(ctx, kgo.TryAbort))
	case "read":
		return read(ctx, words)
	case "transform":
		return transform(ctx, words)
	case "epoch":
		one, err := kgo.NewClient(seeds())
		must(err)
		defer one.Close()
		described, err := kadm.NewClient(one).DescribeTransactions(ctx, words[0])
		must(err)
		return fmt.Sprint(described[words[0]].ProducerEpoch)
	default:
		panic(fmt.Errorf("no command '%s'", command))
	}
	return ""
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			defer func() {
				if cause := recover(); cause != nil {
					kind := "error"
					if err, ok := cause.(error); ok && (errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)) {
						kind = "fenced"
					}
					fmt.Printf("%s %s\n", kind, strings.ReplaceAll(fmt.Sprint(cause), "\n", " "))
				}
			}()
			fmt.Printf("ok %s\n", answer(ctx, strings.Fields(lines.Text())))
		}()
	}
}
