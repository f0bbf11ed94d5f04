namespace Blkring.Engine.Tests.Kit;

/// <summary>The daemon was killed at a step.</summary>
internal sealed class KilledException : Exception;

/// <summary>
/// How long a daemon lives, in steps. There is a step before and after everything that a queue asks of its neighbours:
/// each grant that is copied, each batch that is mapped or unmapped, each operation of the disk, each notification.
/// </summary>
internal sealed class Mortality
{
    public const int Immortal = -1;

    /// <summary>The number of steps until the daemon is killed; <see cref="Immortal"/> lets it live.</summary>
    public int StepsLeft { get; set; } = Immortal;

    /// <summary>
    /// The number of steps that the next daemon lives. Each lives one step longer than the one before it, so that at
    /// last one lives long enough to serve a request. 0 makes it immortal.
    /// </summary>
    public int EveryFurther { get; set; }
    public int Deaths { get; private set; }
    public bool Died => Deaths > 0;

    /// <summary>Whether the next step is the last.</summary>
    public bool IsLastStep => StepsLeft == 0;

    public void Step()
    {
        if (StepsLeft < 0 || StepsLeft-- > 0)
            return;
        Deaths++;
        StepsLeft = EveryFurther > 0 ? EveryFurther++ : Immortal;
        throw new KilledException();
    }
}
