using Blkring.Engine.Errors;
using Blkring.Interop;

namespace Blkring.Engine.Xenbus;

public static class XenstoreTransactions
{
    /// <summary>
    /// A process that keeps writing what a transaction reads can make it fail for ever. After this number of tries the
    /// step runs again later.
    /// </summary>
    private const int MaxTries = 100;
    private const int TriesAtOnce = 10;

    /// <summary>Runs the body in a transaction, and repeats it while other writers interfere.</summary>
    /// <param name="body">Gets the transaction; returning false aborts it.</param>
    /// <returns>What the body returned.</returns>
    public static bool Transact(this IXenstore store, Func<uint, bool> body)
    {
        for (int tries = 1; tries <= MaxTries; tries++)
        {
            if (tries > TriesAtOnce)
                store.Backoff();
            if (TryOnce(store, body) is { } result)
                return result;
        }
        throw new XenstoreException(
            ErrorCode.StoreBusy,
            $"xenstore: {MaxTries} tries of a transaction were interrupted by other writers",
            Errno.EAGAIN
        );
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
            // The first failure is reported; it says more.
        }
    }
}
