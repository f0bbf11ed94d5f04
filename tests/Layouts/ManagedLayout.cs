using System.Reflection;
using System.Runtime.CompilerServices;

namespace Blkring.Layouts.Tests;

/// <summary>
/// How the running runtime lays out a generated type: measured, not taken from the attributes. Bytes.
/// </summary>
internal static class ManagedLayout
{
    /// <summary>
    /// The C# type of a C struct: in the ABI's tag when it differs between ABIs, else in the protocol's class.
    /// </summary>
    public static Type Find(string protocolClass, string tag, string name)
    {
        Type protocol = Protocol(protocolClass);
        return protocol.GetNestedType(tag)?.GetNestedType(name)
            ?? protocol.GetNestedType(name)
            ?? throw new InvalidOperationException($"The generator emitted no {name} for {protocolClass}.{tag}.");
    }

    /// <summary>A protocol that was generated into the tests' own assembly, or else one of the engine's.</summary>
    public static Type Protocol(string name) =>
        typeof(ManagedLayout).Assembly.GetType("Blkring.Abi." + name)
        ?? typeof(Abi.Blkif).Assembly.GetType("Blkring.Abi." + name, throwOnError: true)!;

    public static int SizeOf(Type type) =>
        (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;

    /// <summary>Sets only this field to all ones and looks where the ones are.</summary>
    public static (int Offset, int Size) FieldSpan(Type type, FieldInfo field)
    {
        object value = RuntimeHelpers.GetUninitializedObject(field.FieldType);
        BytesOf(value, SizeOf(field.FieldType)).Fill(0xff);
        object owner = RuntimeHelpers.GetUninitializedObject(type);
        field.SetValue(owner, value);

        Span<byte> bytes = BytesOf(owner, SizeOf(type));
        int first = bytes.IndexOf((byte)0xff);
        int last = bytes.LastIndexOf((byte)0xff);
        Assert.False(
            bytes[first..(last + 1)].ContainsAnyExcept((byte)0xff),
            $"{type}.{field.Name} is not in one piece"
        );
        return (first, last + 1 - first);
    }

    public static (Type Element, int Count) ElementsOf(Type type) =>
        type.GetCustomAttribute<InlineArrayAttribute>() is { } array
            ? (type.GetFields(BindingFlags.Instance | BindingFlags.NonPublic).Single().FieldType, array.Length)
            : (type, 0);

    // A boxed value's bytes follow its type pointer, where a class has its first field.
    private static Span<byte> BytesOf(object boxed, int size) =>
        System.Runtime.InteropServices.MemoryMarshal.CreateSpan(ref Unsafe.As<Boxed>(boxed).FirstByte, size);

    private sealed class Boxed
    {
        public byte FirstByte;
    }
}
