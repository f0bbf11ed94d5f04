using Blkring.Interop;

namespace Blkring.Engine.Xenbus;

/// <summary>xenstore refused, or does not answer; the message is one line.</summary>
public sealed class XenstoreException(string message, int errno = 0) : Exception(message)
{
    /// <summary>Positive; 0 when there is none.</summary>
    public int Errno { get; } = errno;
}

/// <summary>
/// A connection to xenstore: as much of it as a backend needs. Paths without a leading slash are below the domain's own
/// /local/domain/N, also in watch events. May be used by several threads.
/// </summary>
/// <remarks>Every member may throw <see cref="XenstoreException"/>. A transaction of 0 is none.</remarks>
public interface IXenstore : IDisposable
{
    /// <summary>The key's value; null when it does not exist or may not be read.</summary>
    string? Read(string path, uint transaction = 0);

    /// <summary>Makes missing parents, too.</summary>
    void Write(string path, string value, uint transaction = 0);

    /// <summary>With all that is below; harmless when it does not exist.</summary>
    void Remove(string path, uint transaction = 0);

    /// <summary>Names below; null when the path does not exist.</summary>
    IReadOnlyList<string>? Directory(string path, uint transaction = 0);

    uint StartTransaction();

    /// <returns>False when somebody else changed what the transaction had read: do it again.</returns>
    bool EndTransaction(uint transaction, bool abort);

    /// <summary>One event comes at once, then one for each change at or below the path.</summary>
    void Watch(string path, string token);

    void Unwatch(string path, string token);

    /// <summary>Takes the next event; never waits.</summary>
    bool CheckWatch(out string path, out string token);

    /// <summary>To poll: readable when an event waits, hung up once the connection is lost.</summary>
    int Descriptor { get; }
}

public static class XenstoreTransactions
{
    /// <summary>
    /// Somebody who writes in a loop what we read can make a transaction fail for ever: then the step is tried again
    /// later.
    /// </summary>
    private const int MaxTries = 100;
    private const int TriesAtOnce = 10;

    /// <summary>Runs the body in a transaction, again and again while others interfere.</summary>
    /// <param name="body">Takes the transaction; false abandons it, and nothing of it is seen.</param>
    /// <returns>What the body returned.</returns>
    public static bool Transact(this IXenstore store, Func<uint, bool> body)
    {
        for (int tries = 1; tries <= MaxTries; tries++)
        {
            if (tries > TriesAtOnce)
                Thread.Sleep(Random.Shared.Next(1, 10));
            if (TryOnce(store, body) is { } result)
                return result;
        }
        throw new XenstoreException($"a transaction met others {MaxTries} times", Errno.EAGAIN);
    }

    private static bool? TryOnce(IXenstore store, Func<uint, bool> body)
    {
        uint transaction = store.StartTransaction();
        bool done = false,
            ended = false;
        try
        {
            done = body(transaction);
            ended = store.EndTransaction(transaction, abort: !done) || !done;
            return ended ? done : null;
        }
        catch
        {
            if (!ended)
                TryAbort(store, transaction);
            throw;
        }
    }

    private static void TryAbort(IXenstore store, uint transaction)
    {
        try
        {
            store.EndTransaction(transaction, abort: true);
        }
        catch (XenstoreException)
        {
            // The first failure says more.
        }
    }
}
