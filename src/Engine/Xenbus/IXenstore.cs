namespace Blkring.Engine.Xenbus;

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
