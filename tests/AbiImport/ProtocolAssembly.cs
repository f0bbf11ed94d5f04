using System.Reflection;

namespace Blkring.Layouts.Tests;

/// <summary>The protocols generated into this assembly, for the proofs that are linked from tests/Layouts.</summary>
internal static class ProtocolAssembly
{
    public static Assembly Types => typeof(ProtocolAssembly).Assembly;
}
