namespace Blkring.Engine.Xenbus;

/// <summary>
/// A connection to xenstore, with the calls that a backend needs. Paths without a leading slash are relative to the
/// domain's own /local/domain/N, also in watch events. Several threads may use it.
/// </summary>
/// <remarks>Every member may throw <see cref="XenstoreException"/>. A transaction of 0 means none.</remarks>
public interface IXenstore : IDisposable
{
    /// <summary>The key's value; null when it does not exist or may not be read.</summary>
    string? Read(string path, uint transaction = 0);

    /// <summary>Also creates missing parents.</summary>
    void Write(string path, string value, uint transaction = 0);

    /// <summary>Removes the path and everything below it; harmless when it does not exist.</summary>
    void Remove(string path, uint transaction = 0);

    /// <summary>The names below the path; null when it does not exist.</summary>
    IReadOnlyList<string>? Directory(string path, uint transaction = 0);

    uint StartTransaction();

    /// <returns>False when another writer interfered with the transaction: it has to be repeated.</returns>
    bool EndTransaction(uint transaction, bool abort);

    /// <summary>Reports one event at once, then one per change at or below the path.</summary>
    void Watch(string path, string token);

    void Unwatch(string path, string token);

    /// <summary>Takes the next event; never waits.</summary>
    bool CheckWatch(out string path, out string token);

    /// <summary>For poll(2): readable when an event waits, hung up when the connection is lost.</summary>
    int Descriptor { get; }

    /// <summary>
    /// Waits a random time before a transaction is repeated, so that two writers do not collide again.
    /// </summary>
    void Backoff() => Thread.Sleep(Random.Shared.Next(1, 10));
}
