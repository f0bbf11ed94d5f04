// Rooms for the tests of the reader itself: each namespace below uses SampleHigh in one way.
#pragma warning disable CA1812, CA1822, CA1823, CA1852, CS0169, CS0649, IDE0044, IDE0051
namespace Blkring.Architecture.Tests.SampleHigh
{
    internal class Class
    {
        public static int s_count;

        public static void Call() => s_count++;
    }

    internal interface IFace;

    internal struct Value;

    [AttributeUsage(AttributeTargets.All)]
    internal sealed class MarkAttribute : Attribute;

    internal sealed class HighException : Exception;
}

namespace Blkring.Architecture.Tests.SampleLow
{
    internal sealed class Derived : SampleHigh.Class;
}

namespace Blkring.Architecture.Tests.SampleLow.Way1
{
    internal sealed class Implements : SampleHigh.IFace;
}

namespace Blkring.Architecture.Tests.SampleLow.Way2
{
    internal sealed class HasField
    {
        private readonly List<SampleHigh.Value[]>? _values;
    }
}

namespace Blkring.Architecture.Tests.SampleLow.Way3
{
    internal sealed class HasParameter
    {
        public void Take(ref SampleHigh.Value value) => value = default;
    }
}

namespace Blkring.Architecture.Tests.SampleLow.Way4
{
    internal sealed class Calls
    {
        public void Call() => SampleHigh.Class.Call();
    }
}

namespace Blkring.Architecture.Tests.SampleLow.Way5
{
    internal sealed class ReadsFieldInLambda
    {
        public Func<int> Read() => () => SampleHigh.Class.s_count;
    }
}

namespace Blkring.Architecture.Tests.SampleLow.Way6
{
    internal sealed class Constrained<T>
        where T : SampleHigh.IFace;
}

namespace Blkring.Architecture.Tests.SampleLow.Way7
{
    [SampleHigh.Mark]
    internal sealed class Marked;
}

namespace Blkring.Architecture.Tests.SampleLow.Way8
{
    internal sealed class Catches
    {
        public void Try(Action action)
        {
            try
            {
                action();
            }
            catch (SampleHigh.HighException) { }
        }
    }
}

namespace Blkring.Architecture.Tests.SampleLow.Way9
{
    internal sealed class GenericCall
    {
        public int Size() => System.Runtime.CompilerServices.Unsafe.SizeOf<SampleHigh.Value>();
    }
}

namespace Blkring.Architecture.Tests.SampleClock
{
    internal sealed class Impatient
    {
        public Func<DateTime> Now() =>
            () =>
            {
                Thread.Sleep(1);
                return DateTime.UtcNow;
            };
    }
}
